//! Messages of a program's own types.

use crate::{Connection, RequestError, Runtime};
use sealpipe_core::{Message, Rejection, service::RemoteError};
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};
use std::{any::type_name, fmt, future::Future, io, time::Duration};

/// So much of what a format's library says is kept: it quotes what the peer wrote.
const MAX_QUOTED: usize = 256;

/// A way to write values into messages and to read them back. [`Json`] is the
/// provided one; another is one impl:
///
/// ```
/// use sealpipe_driver::{Format, FormatError};
/// use serde::{Deserialize, Serialize, de::DeserializeOwned};
///
/// /// Compact, and only for programs that agree on every type.
/// struct Postcard;
///
/// impl Format for Postcard {
///     fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, FormatError> {
///         postcard::to_stdvec(value).map_err(|error| FormatError::encode::<T>("", error))
///     }
///
///     fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FormatError> {
///         postcard::from_bytes(payload).map_err(|error| FormatError::mismatch::<T>("", "", error))
///     }
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Job {
///     name: String,
///     priority: u8,
/// }
///
/// let job = Job { name: "backup".into(), priority: 3 };
/// let message = Postcard::message(&job)?;
/// assert_eq!(message.payload(), "\x06backup\x03");
/// assert_eq!(Postcard::decode::<Job>(message.payload())?, job);
/// # Ok::<(), FormatError>(())
/// ```
///
/// What is decoded was written by the peer: an implementation limits how deep it
/// goes. How much it is, the connection has limited
/// ([`max_message`](sealpipe_core::ConfigBuilder::max_message)).
pub trait Format {
    /// The bytes of `value`.
    ///
    /// # Errors
    /// [`FormatError::Encode`] if the format has no way to say it.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, FormatError>;

    /// The value that is all of `payload`. On an error nothing is lost: the message
    /// is still there to be looked at and to be given its verdict, and the next one
    /// comes as ever.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] and [`FormatError::Mismatch`].
    fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FormatError>;

    /// `value` as a message, to be given to any way of sending.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn message<T: Serialize + ?Sized>(value: &T) -> Result<Message, FormatError> {
        Self::encode(value).map(Message::new)
    }

    /// Asks the peer's program with `value`, as [`Connection::request`] does, and
    /// decodes its reply.
    ///
    /// # Errors
    /// As [`Connection::request`]; [`RequestError::Format`] if `value` cannot be
    /// written, or the reply is no `A`.
    fn request<R: Runtime, Q: Serialize + ?Sized, A: DeserializeOwned>(
        connection: &Connection<R>,
        value: &Q,
        deadline: Duration,
    ) -> impl Future<Output = Result<A, RequestError>> + Send {
        let request = Self::encode(value);
        async move {
            let reply = connection.request(request?, deadline).await?;
            Ok(Self::decode(&reply)?)
        }
    }
}

/// JSON, by serde_json. Values of the peer's may be nested 127 deep.
///
/// ```
/// use sealpipe_driver::{Format, Json};
///
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// struct Job {
///     name: String,
///     priority: u8,
/// }
///
/// let message = Json::message(&Job { name: "backup".into(), priority: 3 })?;
/// assert_eq!(message.payload(), r#"{"name":"backup","priority":3}"#);
///
/// let error = Json::decode::<Vec<Job>>(br#"[{"name":"backup","priority":"high"}]"#).unwrap_err();
/// assert!(error.to_string().contains("[0].priority"));
/// # Ok::<(), sealpipe_driver::FormatError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl Format for Json {
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, FormatError> {
        serde_json::to_vec(value).map_err(|error| {
            let mut json = serde_json::Serializer::new(io::sink());
            let again = serde_path_to_error::serialize(value, &mut json);
            FormatError::encode::<T>(field(again), error)
        })
    }

    fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FormatError> {
        serde_json::from_slice(payload).map_err(|error| {
            let (place, reason) = (json_place(&error), json_reason(&error));
            if !error.is_data() {
                return FormatError::malformed("JSON", place, reason);
            }
            let mut json = serde_json::Deserializer::from_slice(payload);
            let again = serde_path_to_error::deserialize::<_, T>(&mut json);
            FormatError::mismatch::<T>(field(again), place, reason)
        })
    }
}

/// The way to what does not fit. To keep track of it makes reading take twice as
/// long, so that is done only when there is something to be named.
fn field<T, E>(again: Result<T, serde_path_to_error::Error<E>>) -> String {
    again.map_or_else(|error| error.path().to_string(), |_| String::new())
}

fn json_place(error: &serde_json::Error) -> String {
    // Line 0: an error of the type's own, of which serde_json knows no place.
    match error.line() {
        0 => String::new(),
        line => format!("line {line}, column {}", error.column()),
    }
}

/// What it says without the place, which would be lost where it is cut off.
fn json_reason(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if reason.ends_with(&place) {
        reason.truncate(reason.len() - place.len());
    }
    reason
}

/// What a payload looks like, for those who take messages of several kinds.
///
/// ```
/// use sealpipe_driver::Content;
/// assert_eq!(Content::of(br#"{"id": 7}"#), Content::Json(r#"{"id": 7}"#));
/// assert_eq!(Content::of("grüße".as_bytes()), Content::Text("grüße"));
/// assert_eq!(Content::of(b"\x89PNG"), Content::Bytes(b"\x89PNG"));
/// // A number, a quoted string, true, false and null are JSON too.
/// assert_eq!(Content::of(b"42"), Content::Json("42"));
/// ```
///
/// `Debug` shows how long it is, never what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// One whole value of JSON, of any depth; [`Json`] decodes it.
    Json(&'a str),
    /// UTF-8 that is not JSON; also what is empty.
    Text(&'a str),
    /// Anything else.
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    /// Looks at a payload; reads all of it, and keeps nothing.
    pub fn of(payload: &'a [u8]) -> Content<'a> {
        match std::str::from_utf8(payload) {
            Err(_) => Content::Bytes(payload),
            Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Content::Json(text),
            Ok(text) => Content::Text(text),
        }
    }
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, len) = match self {
            Content::Json(text) => ("Json", text.len()),
            Content::Text(text) => ("Text", text.len()),
            Content::Bytes(bytes) => ("Bytes", bytes.len()),
        };
        write!(f, "{kind}({len} bytes)")
    }
}

/// A value could not be made into a message, or a message into a value.
///
/// The text may quote a part of the message, at most 256 bytes for each field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The format cannot say the value.
    #[error(
        "cannot write {type_name}{}: {reason}; change the type, or write it in another format",
        At(field, "")
    )]
    Encode {
        /// Of Rust.
        type_name: &'static str,
        /// The way to it, such as `jobs[3].name`; empty if it is not known.
        field: String,
        /// What the format's library says.
        reason: String,
    },
    /// The payload is not of the format, is cut short, or goes too deep.
    #[error(
        "the message cannot be read as {format}{}: {reason}; look whether its sender writes that format",
        At("", place)
    )]
    Malformed {
        /// Its name.
        format: &'static str,
        /// As in `line 1, column 20`; empty if it is not known.
        place: String,
        /// What the format's library says.
        reason: String,
    },
    /// The payload is of the format, and is not what the type takes.
    #[error(
        "the message does not fit {type_name}{}: {reason}; look whether both programs are of the same version",
        At(field, place)
    )]
    Mismatch {
        /// Of Rust.
        type_name: &'static str,
        /// As in [`Encode`](Self::Encode).
        field: String,
        /// As in [`Malformed`](Self::Malformed).
        place: String,
        /// What the format's library says.
        reason: String,
    },
}

impl FormatError {
    /// A `T` cannot be written because of `reason`, at `field` if that is known.
    pub fn encode<T: ?Sized>(field: impl fmt::Display, reason: impl fmt::Display) -> FormatError {
        FormatError::Encode {
            type_name: type_name::<T>(),
            field: field_name(field),
            reason: quoted(reason),
        }
    }

    /// A payload is not of `format` because of `reason`, at `place` if that is
    /// known.
    pub fn malformed(
        format: &'static str,
        place: impl fmt::Display,
        reason: impl fmt::Display,
    ) -> FormatError {
        FormatError::Malformed {
            format,
            place: quoted(place),
            reason: quoted(reason),
        }
    }

    /// A payload is no `T` because of `reason`, at `field` and `place` if they are
    /// known.
    pub fn mismatch<T: ?Sized>(
        field: impl fmt::Display,
        place: impl fmt::Display,
        reason: impl fmt::Display,
    ) -> FormatError {
        FormatError::Mismatch {
            type_name: type_name::<T>(),
            field: field_name(field),
            place: quoted(place),
            reason: quoted(reason),
        }
    }
}

/// So that a handler can use `?`: what the peer sent does not fit, or this side has
/// no way to answer.
impl From<FormatError> for RemoteError {
    fn from(error: FormatError) -> RemoteError {
        let code = match error {
            FormatError::Encode { .. } => RemoteError::FAILED,
            _ => RemoteError::MALFORMED,
        };
        RemoteError::new(code, error.to_string())
    }
}

impl From<FormatError> for Rejection {
    fn from(error: FormatError) -> Rejection {
        Rejection::new(Rejection::UNSPECIFIED, error.to_string())
    }
}

/// serde_path_to_error's word for the value itself is a dot.
fn field_name(field: impl fmt::Display) -> String {
    let field = quoted(field);
    if field == "." { String::new() } else { field }
}

/// At most [`MAX_QUOTED`] bytes of what may be as long as the message.
fn quoted(text: impl fmt::Display) -> String {
    let mut text = text.to_string();
    if text.len() > MAX_QUOTED {
        let mut end = MAX_QUOTED - "…".len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// Where, as far as it is known: a field and a place.
struct At<'a>(&'a str, &'a str);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() {
            write!(f, " at {}", self.0)?;
        }
        if !self.1.is_empty() {
            write!(f, " ({})", self.1)?;
        }
        Ok(())
    }
}
