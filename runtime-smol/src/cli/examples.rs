//! The examples at the end of each `--help`, of commands whose files have none of their own.

/// The program's.
pub(super) const PROGRAM: &str = "\
Examples:
  causerie                                          serve on http://127.0.0.1:8080 and print a link that logs you in
  causerie serve --listen 0.0.0.0:8080              let others in your network join
  causerie token --user grace --ttl 12h             a token for grace, to send to her
  causerie key create --user grace \"her script\"     an API key; causerie user, audit: who may do and did what
  causerie chat                                     talk in the terminal, without a server
  causerie chat --server http://HOST:8080/#login=CODE      or on one
  causerie run \"Why is the sky blue?\"               one answer on stdout
  causerie serve --hf bartowski/SmolLM2-360M-Instruct-GGUF

Settings: each is taken from its flag, else from its variable CAUSERIE_…, else from the file of --config, else it is the
default. `causerie config` shows them all and where each comes from, `causerie config --example` a file with explanations.

Environment, besides:
  CAUSERIE_CACHE_DIR   where models are kept [default: causerie in $XDG_CACHE_HOME or ~/.cache]
  NO_COLOR             no colours

Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted";

/// `causerie serve`.
pub(super) const SERVE: &str = "\
Examples:
  causerie serve                                    on http://127.0.0.1:8080, for this machine alone
  causerie serve --listen 0.0.0.0:8080              for your network
  causerie serve --hf gemma3-270m --data-dir /srv/causerie
  causerie doctor                                   whether all is there that it needs";

/// `causerie token`.
pub(super) const TOKEN: &str = "\
Examples:
  causerie token --user grace --ttl 12h             she opens http://HOST:8080/#token=TOKEN, or says
  causerie chat --server http://HOST:8080           with the token in CAUSERIE_TOKEN";

/// `causerie pull`.
pub(super) const PULL: &str = "\
Examples:
  causerie pull                                     the default model
  causerie pull gemma3-270m
  causerie pull bartowski/SmolLM2-360M-Instruct-GGUF
  model=$(causerie pull --quiet gemma3-270m)        the file's path is what stdout gets";

/// `causerie key`.
pub(super) const KEY: &str = "\
Examples:
  key=$(causerie key create \"backup script\" --user grace --ttl 30d)
  curl -H \"Authorization: Bearer $key\" http://127.0.0.1:8080/v1/models
  causerie key list
  causerie key revoke PREFIX";

/// `causerie user`.
pub(super) const USER: &str = "\
Examples:
  causerie user list
  causerie user set grace --role admin
  causerie user set grace --tokens-a-day 100000 --parallel 2
  causerie user disable grace";

/// `causerie audit`.
pub(super) const AUDIT: &str = "\
Example:
  causerie audit -n 20";

/// `causerie backup`.
pub(super) const BACKUP: &str = "\
Example:
  causerie backup causerie-$(date +%F).db";

/// `causerie restore`.
pub(super) const RESTORE: &str = "\
Example:
  causerie restore causerie-2026-11-23.db          while no server runs";

/// `causerie models`.
pub(super) const MODELS: &str = "\
Example:
  causerie models          a table of files, sizes, types and parameters";

/// `causerie config`.
pub(super) const CONFIG: &str = "\
Examples:
  causerie config
  CAUSERIE_PARALLEL=4 causerie config              with what a variable changes";

/// `causerie logits`.
pub(super) const LOGITS: &str = "\
Example:
  causerie logits --tokens 1,4093,198 --top 5 | jq '.positions[-1].top'";

/// `causerie bench`.
pub(super) const BENCH: &str = "\
Examples:
  causerie bench
  causerie bench --json --prompt 2048 --streams 8,32 --threads 4";

/// `causerie tokenize`.
pub(super) const TOKENIZE: &str = "\
Example:
  printf 'Hello' | causerie tokenize | jq length";
