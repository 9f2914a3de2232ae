"""The official client for Python, and LangChain's, against a running server: BASE_URL TOKEN."""

import json
import sys
from enum import Enum

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import OpenAI
from pydantic import BaseModel, Field

base_url, token = sys.argv[1:3]
client = OpenAI(base_url=base_url, api_key=token, max_retries=0)
MODEL = "smollm2-135m"
HELLO = [{"role": "user", "content": "Say hello."}]


class Unit(str, Enum):
    celsius = "celsius"
    kelvin = "kelvin"


class Weather(BaseModel):
    """The weather of a city."""

    city: str = Field(max_length=20)
    unit: Unit


WEATHER = openai.pydantic_function_tool(Weather, name="weather")


def refused(kind, code, ask):
    try:
        ask()
    except kind as error:
        assert error.code == code, error
    else:
        raise AssertionError(f"{code} was expected")


def models():
    assert [model.id for model in client.models.list()] == [client.models.retrieve(MODEL).id]


def chat():
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, seed=1, logprobs=True, top_logprobs=2)
    assert answer.choices[0].message.content and answer.usage.completion_tokens <= 12
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens).startswith(answer.choices[0].message.content)
    assert all(len(token.top_logprobs) == 2 for token in tokens)


def chat_streamed():
    options = {"include_usage": True}
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, stream=True, stream_options=options)
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text and chunks[-1].usage.total_tokens > 0
    with client.chat.completions.stream(model=MODEL, messages=HELLO) as events:
        for _ in events:
            pass
        assert events.get_final_completion().choices[0].message.content


def aborted():
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=5000, stream=True)
    next(iter(stream))
    stream.close()
    assert client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2).choices


def structured():
    answer = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Weather)
    assert isinstance(answer.choices[0].message.parsed, Weather)


def tools():
    messages = [{"role": "user", "content": "What is the weather in Rome?"}]
    ask = dict(model=MODEL, tools=[WEATHER], tool_choice="required", max_tokens=100)
    choice = client.chat.completions.create(messages=messages, **ask).choices[0]
    call = choice.message.tool_calls[0]
    assert choice.finish_reason == "tool_calls" and call.function.name == "weather"
    Weather.model_validate_json(call.function.arguments)
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}]
    ask["tool_choice"] = "none"
    assert client.chat.completions.create(messages=messages, **ask).choices[0].message.content


def completions():
    answer = client.completions.create(model=MODEL, prompt="One, two, three,", max_tokens=4, temperature=0)
    assert "four" in answer.choices[0].text, answer


def embeddings():
    # The client asks for base64 and unpacks it by itself.
    answer = client.embeddings.create(model=MODEL, input=["a cat", "a dog"])
    vectors = [one.embedding for one in answer.data]
    assert len(vectors) == 2 and abs(sum(x * x for x in vectors[0]) - 1) < 1e-3
    assert len(client.embeddings.create(model=MODEL, input="a cat", dimensions=8).data[0].embedding) == 8


def responses():
    answer = client.responses.create(model=MODEL, input="Say hello.", instructions="Be brief.", max_output_tokens=12)
    assert answer.output_text and answer.usage.output_tokens <= 12
    answer = client.responses.parse(model=MODEL, input="The weather in Rome?", text_format=Weather)
    assert isinstance(answer.output_parsed, Weather)
    with client.responses.stream(model=MODEL, input="Say hello.") as events:
        numbers = [event.sequence_number for event in events]
        assert numbers == list(range(len(numbers))) and len(numbers) > 6
        assert events.get_final_response().output_text
    function = {"type": "function", **WEATHER["function"]}
    with client.responses.stream(model=MODEL, input="The weather in Rome?", tools=[function], tool_choice="required") as events:
        kinds = [event.type for event in events]
        call = events.get_final_response().output[0]
    assert "response.function_call_arguments.done" in kinds and call.name == "weather"
    Weather.model_validate_json(call.arguments)
    refused(openai.BadRequestError, "unsupported_parameter", lambda: client.responses.create(model=MODEL, input="x", store=True))
    refused(openai.NotFoundError, "not_found", lambda: client.responses.retrieve("resp_1"))


def errors():
    wrong = OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, "invalid_api_key", lambda: wrong.models.list())
    create = client.chat.completions.create
    refused(openai.NotFoundError, "model_not_found", lambda: create(model="gpt-9", messages=HELLO))
    refused(openai.BadRequestError, "invalid_value", lambda: create(model=MODEL, messages=HELLO, temperature=9))
    refused(openai.BadRequestError, "context_length_exceeded", lambda: create(model=MODEL, messages=[{"role": "user", "content": "word " * 20000}]))


def langchain():
    chat = ChatOpenAI(model=MODEL, base_url=base_url, api_key=token, max_retries=0, max_tokens=60)
    assert chat.invoke("Say hello.").content
    assert "".join(str(chunk.content) for chunk in chat.stream("Say hello."))
    assert isinstance(chat.with_structured_output(Weather).invoke("The weather in Rome?"), Weather)
    called = chat.bind_tools([Weather], tool_choice="Weather").invoke("The weather in Rome?")
    assert called.tool_calls[0]["name"] == "Weather", called
    # Tokens of another model's tokenizer make no sense to this one.
    embeddings = OpenAIEmbeddings(model=MODEL, base_url=base_url, api_key=token, check_embedding_ctx_length=False)
    assert len(embeddings.embed_documents(["a cat", "a dog"])) == 2


for part in [models, chat, chat_streamed, aborted, structured, tools, completions, embeddings, responses, errors, langchain]:
    part()
    print(json.dumps({"well": part.__name__}), flush=True)
