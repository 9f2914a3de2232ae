//! asyncapi
