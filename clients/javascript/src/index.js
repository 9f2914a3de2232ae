// The package's door. All that it has is described in index.d.ts.

export { Answer } from "./answer.js";
export { Client, connect } from "./client.js";
export * from "./errors.js";
export { Session } from "./session.js";
