//! A struct whose fields are keys: one declaration gives the struct, the table
//! of its keys and the reader.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Form, Table};
use crate::config::Section;

/// A configuration that is read by its own table; [`keys!`](crate::keys!) makes one.
pub trait Keys: Sized {
    /// Its keys.
    const TABLE: &'static Table;

    /// Reads it. None where a key is missing or wrong, which the section has noted.
    fn read(section: &Section<'_>) -> Option<Self>;
}

/// A type that can stand at a key.
pub trait Field: Sized {
    /// What may be written there.
    const FORM: Form;
    /// Whether it may be left out.
    const IS_OPTIONAL: bool = false;

    /// Reads it; none where it is left out or wrong.
    fn read(section: &Section<'_>, key: &'static str) -> Option<Self>;

    /// What it is where the key is left out, if that is no fault.
    fn absent() -> Option<Self> {
        None
    }
}

impl Field for String {
    const FORM: Form = Form::Label;

    fn read(section: &Section<'_>, key: &'static str) -> Option<Self> {
        section.label(key)
    }
}

impl Field for bool {
    const FORM: Form = Form::Boolean;

    fn read(section: &Section<'_>, key: &'static str) -> Option<Self> {
        section.boolean(key)
    }
}

impl Field for f64 {
    const FORM: Form = Form::Number(f64::NEG_INFINITY, f64::INFINITY);

    fn read(section: &Section<'_>, key: &'static str) -> Option<Self> {
        let value = section.value(key)?;
        let number = value
            .as_f64()
            .or_else(|| value.as_str()?.trim().parse().ok());
        let number = number.filter(|number| number.is_finite());
        if number.is_none() {
            section.fault(key, format!("expected a number, found {value}"));
        }
        number
    }
}

/// Longer than this nobody waits.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl Field for Duration {
    const FORM: Form = Form::Duration(Duration::ZERO, LONGEST);

    fn read(section: &Section<'_>, key: &'static str) -> Option<Self> {
        section.duration(key)
    }
}

macro_rules! whole {
    ($($number:ty)+) => {$(
        impl Field for $number {
            const FORM: Form = Form::Integer(<$number>::MIN as i64, <$number>::MAX as i64);

            fn read(section: &Section<'_>, key: &'static str) -> Option<Self> {
                section.integer(key)
            }
        }
    )+};
}
whole!(u8 u16 u32 i8 i16 i32 i64);

impl<T: Field> Field for Option<T> {
    const FORM: Form = T::FORM;
    const IS_OPTIONAL: bool = true;

    fn read(section: &Section<'_>, key: &'static str) -> Option<Self> {
        T::read(section, key).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// The value of a field: what is written, else what its declaration says.
#[doc(hidden)]
pub fn field<T: Field>(
    section: &Section<'_>,
    table: &'static Table,
    key: &'static str,
    default: Option<&str>,
) -> Option<T> {
    let read = T::read(section, key);
    if read.is_some() || section.has(key) {
        return read;
    }
    let Some(default) = default else {
        return T::absent();
    };
    let value = serde_json::from_str::<Value>(default).ok()?;
    let map = Map::from_iter([(key.to_owned(), value)]);
    T::read(&Section::new(table, "", &map), key)
}

/// The text of a doc comment, without the blank that it begins with.
#[doc(hidden)]
#[must_use]
pub const fn sentence(doc: &'static str) -> &'static str {
    match doc.as_bytes() {
        [b' ', ..] => doc.split_at(1).1,
        _ => doc,
    }
}

/// The fault of a field that is left out and must not be.
#[doc(hidden)]
#[must_use]
pub const fn required<T: Field>(has_default: bool, missing: &'static str) -> Option<&'static str> {
    if has_default || T::IS_OPTIONAL {
        None
    } else {
        Some(missing)
    }
}

/// Declares a configuration: a struct, the table of its keys, and its reader.
///
/// ```
/// use std::time::Duration;
/// use longshore_sdk::{config::Section, keys::Keys};
///
/// longshore_sdk::keys! {
///     /// Where the device is.
///     #[derive(Debug, Clone, PartialEq, Eq, Hash)]
///     pub struct Device {
///         /// Its address, `HOST:PORT`.
///         address: String,
///         /// Which of the devices behind it.
///         unit: u8 [1..=247] = 1,
///         /// Until an answer must have come.
///         timeout: Duration = "1s",
///         /// What opens it, if it is locked.
///         pass_word as "passWord": Option<String>,
///     }
/// }
///
/// let config = serde_json::json!({"address": "192.0.2.7:7000", "unit": 3});
/// let section = Section::new(Device::TABLE, "protocol", config.as_object().unwrap());
/// let device = Device::read(&section).unwrap();
/// assert_eq!((device.unit, device.timeout), (3, Duration::from_secs(1)));
/// assert_eq!(device.pass_word, None);
///
/// let config = serde_json::json!({"unit": 300, "passwort": "x"});
/// let section = Section::new(Device::TABLE, "protocol", config.as_object().unwrap());
/// assert_eq!(Device::read(&section), None);
/// let (faults, warnings) = section.finish();
/// let told: Vec<_> = faults.iter().chain(&warnings).map(ToString::to_string).collect();
/// assert!(told[0].starts_with("protocol.address: is missing"), "{told:?}");
/// assert!(told[1].starts_with("protocol.unit: 300 is outside"), "{told:?}");
/// assert!(told.iter().any(|fault| fault.contains("did you mean `passWord`?")), "{told:?}");
/// ```
///
/// A key has the field's name unless `as` says another. `[1..=9]` bounds a
/// whole number, `=` is what is taken where the key is left out, as JSON; an `Option`
/// may be left out, and every other field may not.
#[macro_export]
macro_rules! keys {
    (
        #[doc = $about:literal]
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                #[doc = $meaning:literal]
                $field:ident $(as $key:literal)? : $type:ty
                    $([ $least:literal ..= $most:literal ])?
                    $(= $default:literal)?
            ),+ $(,)?
        }
    ) => {
        #[doc = $about]
        $(#[$meta])*
        $vis struct $name {
            $(
                #[doc = $meaning]
                pub $field: $type,
            )+
        }

        impl $crate::keys::Keys for $name {
            const TABLE: &'static $crate::keys::Table = &$crate::keys::Table {
                about: $crate::keys::sentence($about),
                keys: &[&[$(
                    $crate::keys::Key {
                        name: $crate::keys!(@name $field $($key)?),
                        form: $crate::keys!(@form $type $(, $least, $most)?),
                        meaning: $crate::keys::sentence($meaning),
                        default: $crate::keys!(@default $($default)?),
                        required: $crate::keys::required::<$type>(
                            $crate::keys!(@is_given $($default)?),
                            concat!("is missing:", $meaning),
                        ),
                    },
                )+]],
                examples: &[],
            };

            fn read(section: &$crate::config::Section<'_>) -> Option<Self> {
                let table = <Self as $crate::keys::Keys>::TABLE;
                // All of them first, so that all faults are told at once.
                $(
                    let $field = $crate::keys::field::<$type>(
                        section,
                        table,
                        $crate::keys!(@name $field $($key)?),
                        $crate::keys!(@json $($default)?),
                    );
                )+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
    (@form $type:ty) => { <$type as $crate::keys::Field>::FORM };
    (@form $type:ty, $least:literal, $most:literal) => { $crate::keys::Form::Integer($least, $most) };
    (@default) => { $crate::keys::Default::Nothing };
    (@default $default:literal) => { $crate::keys::Default::Json(stringify!($default)) };
    (@json) => { None };
    (@json $default:literal) => { Some(stringify!($default)) };
    (@is_given) => { false };
    (@is_given $default:literal) => { true };
}
