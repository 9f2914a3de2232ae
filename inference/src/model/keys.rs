//! Numbers of a model's metadata, checked as they are read.

use super::config::WIDTH;
use crate::error::LoadError;
use crate::gguf::{Metadata, Value};

/// Keys below the architecture's name.
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) prefix: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub(super) fn bad(&self, name: &str, reason: String) -> LoadError {
        LoadError::BadKey { key: self.key(name), reason }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.metadata.get(&self.key(name))
    }

    pub(super) fn str(&self, name: &str) -> Option<&str> {
        self.metadata.str(&self.key(name))
    }

    /// A number from `least` to `limit`, if the key is there.
    fn within(&self, name: &str, least: u32, limit: u32) -> Result<Option<usize>, LoadError> {
        if self.get(name).is_none() {
            return Ok(None);
        }
        let key = self.key(name);
        let seen = self.metadata.u64(&key).ok_or(LoadError::MissingKey { key })?;
        if seen < u64::from(least) || seen > u64::from(limit) {
            return Err(self.bad(name, format!("{seen} is not from {least} to {limit}; the file is damaged")));
        }
        Ok(Some(seen as usize))
    }

    /// A number from 1 to `limit`, if the key is there.
    pub(super) fn optional(&self, name: &str, limit: u32) -> Result<Option<usize>, LoadError> {
        self.within(name, 1, limit)
    }

    /// A number up to `limit`, if the key is there and the number is not 0, which stands for none.
    pub(super) fn unless_zero(&self, name: &str, limit: u32) -> Result<Option<usize>, LoadError> {
        Ok(self.within(name, 0, limit)?.filter(|&seen| seen != 0))
    }

    /// A number from 1 to `limit`.
    pub(super) fn count(&self, name: &str, limit: u32) -> Result<usize, LoadError> {
        self.optional(name, limit)?.ok_or_else(|| LoadError::MissingKey { key: self.key(name) })
    }

    /// A positive number.
    pub(super) fn positive(&self, name: &str, default: Option<f32>) -> Result<f32, LoadError> {
        let seen = self.metadata.f32(&self.key(name)).or(default);
        let seen = seen.ok_or_else(|| LoadError::MissingKey { key: self.key(name) })?;
        if seen > 0.0 && seen.is_finite() {
            Ok(seen)
        } else {
            Err(self.bad(name, format!("{seen} is not a positive number; the file is damaged")))
        }
    }

    /// A positive number, if the key is there and the number is not 0, which stands for none.
    pub(super) fn positive_unless_zero(&self, name: &str, default: Option<f32>) -> Result<Option<f32>, LoadError> {
        match self.metadata.f32(&self.key(name)) {
            None => Ok(default),
            Some(0.0) => Ok(None),
            Some(_) => self.positive(name, None).map(Some),
        }
    }

    pub(super) fn head_dim(&self, width: usize, heads: usize) -> Result<usize, LoadError> {
        let head_dim = match self.optional("attention.key_length", WIDTH)? {
            Some(head_dim) => head_dim,
            None if width.is_multiple_of(heads) => width / heads,
            None => return Err(self.bad("attention.head_count", format!("{heads} does not divide the width {width}"))),
        };
        match self.optional("attention.value_length", WIDTH)? {
            Some(other) if other != head_dim => Err(self
                .bad("attention.value_length", format!("{other} where keys have {head_dim}, which is not supported"))),
            _ => Ok(head_dim),
        }
    }

    /// Mixtures of experts go by the names of dense families too.
    pub(super) fn refuse_variants(&self) -> Result<(), LoadError> {
        match self.metadata.u64(&self.key("expert_count")) {
            None | Some(0) => Ok(()),
            Some(experts) => Err(self.bad(
                "expert_count",
                format!("mixtures of experts ({experts} here) are not supported; take a dense model"),
            )),
        }
    }
}
