// What can go wrong; described in index.d.ts.

export class CauserieError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

export class ProtocolError extends CauserieError {}

export class ConnectFailed extends CauserieError {
  constructor(message, status, options) {
    super(message, options);
    this.status = status;
  }
}

export class Disconnected extends CauserieError {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export class Closed extends CauserieError {}

export class SessionOver extends CauserieError {}

export class AnswerLost extends CauserieError {}

export class Overrun extends CauserieError {}

export class Refused extends CauserieError {
  constructor(frame) {
    super(frame.detail ? `${frame.message} (${frame.detail})` : frame.message);
    this.frame = frame;
    this.code = frame.code;
    this.retryable = frame.retryable;
    this.retryAfterMs = frame.retry_after_ms;
  }
}
