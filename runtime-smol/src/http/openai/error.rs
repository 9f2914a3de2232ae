//! Answers that are no, in the form that OpenAI's clients read:
//! `{"error": {"message", "type", "param", "code"}}`.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::super::{Code, Refusal, Response, json as json_response};
use crate::limits;
use crate::quota::Exceeded;
use crate::worker::TaskFailure;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// What programs look at.
    code: &'static str,
    /// Which field of the request is meant.
    param: Option<String>,
    message: String,
    headers: Vec<(HeaderName, &'static str)>,
    /// Seconds after which it is worth while to try again.
    retry: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, param: None, message: message.into(), headers: Vec::new(), retry: None }
    }

    /// A field that makes no sense.
    pub(super) fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_value", message).about(param)
    }

    /// A field that OpenAI's service knows and this server does not.
    pub(super) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "unsupported_parameter", message).about(param)
    }

    pub(super) fn about(mut self, param: impl Into<String>) -> ApiError {
        self.param = Some(param.into());
        self
    }

    /// What the model's thread says, where `input` is the field that it goes on from.
    pub(super) fn from_failure(failure: TaskFailure, input: &'static str) -> ApiError {
        match failure {
            TaskFailure::Unavailable(reason) => {
                let retry = Some(limits::MODEL_LOOK.as_secs());
                ApiError { retry, ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", reason) }
            }
            TaskFailure::Overloaded => {
                let message = "the model has as much to do as it takes on; try again in a moment";
                let retry = Some(limits::API_RETRY.as_secs());
                ApiError { retry, ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message) }
            }
            TaskFailure::TooLong { tokens, context } => {
                let message = format!(
                    "the model's context has {context} tokens, an answer included, and {input:?} takes {tokens}; \
                     shorten it"
                );
                ApiError::new(StatusCode::BAD_REQUEST, "context_length_exceeded", message).about(input)
            }
            TaskFailure::Invalid(message) => ApiError::new(StatusCode::BAD_REQUEST, "invalid_value", message),
            TaskFailure::Internal => {
                let message = "the server failed at this; its log says how";
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
            }
        }
    }

    /// Of somebody who has used what is theirs, or whose share storage cannot tell.
    fn from_quota(exceeded: &Exceeded) -> ApiError {
        let (status, code, retry) = match exceeded {
            Exceeded::Tokens { retry_s, .. } => (StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", *retry_s),
            Exceeded::Parallel { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", limits::API_RETRY.as_secs())
            }
            Exceeded::Unknown(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage_failed", limits::API_RETRY.as_secs()),
        };
        ApiError { retry: Some(retry), ..ApiError::new(status, code, exceeded.to_string()) }
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// What stands in the body.
    pub(super) fn body(&self) -> Value {
        json!({ "error": self.inner() })
    }

    /// The same, without what it is wrapped in.
    pub(super) fn inner(&self) -> Value {
        json!({ "message": self.message, "type": self.kind(), "param": self.param, "code": self.code })
    }

    pub(super) fn answer(self) -> Response {
        let mut response = json_response(self.status, &self.body());
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(seconds) = self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Code(self.code));
        response
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> ApiError {
        ApiError::from_quota(&exceeded)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let Refusal { status, code, message, headers } = refusal;
        let code = if status == StatusCode::UNAUTHORIZED { "invalid_api_key" } else { code };
        ApiError { headers, ..ApiError::new(status, code, message) }
    }
}
