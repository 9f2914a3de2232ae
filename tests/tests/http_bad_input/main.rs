//! HTTP as nobody should speak it: every route with every wrong method, type, size, encoding and token, and requests that are
//! none. Each has one clear answer, which `docs/http.md` tells; the server goes on.

mod bodies;
mod clock;
mod document;
mod exchange;
mod framing;
mod logged;
mod routes;
mod script;
mod sources;
mod tokens;
