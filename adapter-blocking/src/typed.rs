//! Requests whose payloads are values of a program's own types.

use crate::{Connection, Format, RequestError};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

impl Connection {
    /// Asks the peer's program with `value`, written in a [`Format`] such as
    /// [`Json`](crate::Json), as [`request`](Self::request) does, and decodes its reply.
    ///
    /// # Errors
    /// As [`request`](Self::request); [`RequestError::Format`] if `value` cannot be
    /// written, or the reply is no `A`.
    pub fn request_as<F: Format, A: DeserializeOwned>(
        &self,
        _format: F,
        value: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> Result<A, RequestError> {
        let reply = self.request(F::encode(value)?, deadline)?;
        Ok(F::decode(&reply)?)
    }
}
