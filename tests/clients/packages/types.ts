// Checked and never run: all that index.d.ts declares, as a user would write it.

import { AnswerLost, Closed, Refused, connect } from "causerie";
import type { Answer, ClientFrame, Event, Message, Sampling, ServerFrame, Session } from "causerie";

export async function use(): Promise<string> {
  const chat = await connect("http://localhost:8080", async () => "token", { backoff: [1, 2], patience: 3, openTimeout: 4 });
  const session: Session = await chat.createSession("Tea", { system: "Be brief." });
  const sampling: Sampling = { temperature: 0, stop: ["."], max_tokens: 3 };
  const answer: Answer = await session.send("Which?", { sampling, clientId: "c-1" });
  for await (const piece of answer) piece.toUpperCase();
  const message: Message = await answer.message();
  const tokens: number | undefined = message.usage?.completion_tokens;
  const events: AsyncIterable<Event> = session.events();
  for await (const event of events) {
    if (event.type === "message_delta") event.offset.toFixed();
    else if (event.type === "state") event.state satisfies string;
    else if (event.type === "error" && event.code === "generation_failed") event.retry_after_ms?.toFixed();
    // @ts-expect-error: no frame has such a type
    else if (event.type === "no_such_frame") break;
  }
  const frame: ClientFrame = { type: "typing", is_typing: true };
  // @ts-expect-error: a field is missing
  const wrong: ClientFrame = { type: "join_session" };
  const name = (told: ServerFrame) => told.type;
  try {
    await (await chat.join(session.id)).rename("Coffee");
  } catch (error) {
    if (error instanceof Refused && error.code === "rate_limited") return String(error.retryAfterMs ?? 0);
    if (error instanceof Closed || error instanceof AnswerLost) throw error;
  }
  await chat.close();
  return [tokens, frame.type, wrong, name].join();
}
