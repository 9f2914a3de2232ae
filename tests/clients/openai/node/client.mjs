// The official client for Node against a running server: BASE_URL TOKEN.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const model = "smollm2-135m";
const messages = [{ role: "user", content: "Say hello." }];
const Weather = z.object({ city: z.string().max(20), unit: z.enum(["celsius", "kelvin"]) });

async function refused(kind, code, asked) {
    await assert.rejects(asked, (error) => error instanceof kind && error.code === code);
}

const parts = {
    async models() {
        const list = await client.models.list();
        assert.equal(list.data[0].id, (await client.models.retrieve(model)).id);
    },
    async chat() {
        const answer = await client.chat.completions.create({ model, messages, max_tokens: 12, logprobs: true, top_logprobs: 2 });
        assert.ok(answer.choices[0].message.content);
        assert.equal(answer.choices[0].logprobs.content[0].top_logprobs.length, 2);
    },
    async streamed() {
        const stream = await client.chat.completions.create({ model, messages, max_tokens: 12, stream: true });
        let text = "";
        for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
        assert.ok(text);
    },
    async aborted() {
        const stream = await client.chat.completions.create({ model, messages, max_tokens: 5000, stream: true });
        for await (const _ of stream) break;
        assert.ok(stream.controller.signal.aborted);
        assert.ok((await client.chat.completions.create({ model, messages, max_tokens: 2 })).choices.length);
    },
    async structured() {
        const format = zodResponseFormat(Weather, "weather");
        const answer = await client.chat.completions.parse({ model, messages, response_format: format });
        Weather.parse(answer.choices[0].message.parsed);
    },
    async tools() {
        const tools = [zodFunction({ name: "weather", parameters: Weather })];
        const stream = client.chat.completions.stream({ model, messages, tools, tool_choice: "required", max_tokens: 100 });
        const { choices: [choice] } = await stream.finalChatCompletion();
        assert.equal(choice.finish_reason, "tool_calls");
        Weather.parse(JSON.parse(choice.message.tool_calls[0].function.arguments));
    },
    async embeddings() {
        const answer = await client.embeddings.create({ model, input: ["a cat", "a dog"] });
        const length = answer.data[0].embedding.reduce((sum, x) => sum + x * x, 0);
        assert.ok(answer.data.length === 2 && Math.abs(length - 1) < 1e-3);
    },
    async responses() {
        const answer = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 12 });
        assert.ok(answer.output_text);
        const stream = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 12, stream: true });
        const kinds = [];
        for await (const event of stream) assert.equal(kinds.push(event.type) - 1, event.sequence_number);
        assert.equal(kinds[0], "response.created");
        assert.ok(["response.completed", "response.incomplete"].includes(kinds.at(-1)));
    },
    async errors() {
        const wrong = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
        await refused(OpenAI.AuthenticationError, "invalid_api_key", () => wrong.models.list());
        await refused(OpenAI.NotFoundError, "model_not_found", () => client.chat.completions.create({ model: "gpt-9", messages }));
    },
};

for (const [name, part] of Object.entries(parts)) {
    await part();
    console.log(JSON.stringify({ well: name }));
}
