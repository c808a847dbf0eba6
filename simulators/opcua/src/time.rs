//! Times of OPC UA: units of 100 ns since 1601 (OPC 10000-6, 5.2.2.5), and their texts.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// From 1601 to 1970.
const UNIX: i64 = 116_444_736_000_000_000;
const SECOND: i64 = 10_000_000;
const DAY: i64 = 86_400;

/// One moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) ticks: i64,
}

impl Now {
    pub(crate) fn read() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            instant: Instant::now(),
            ticks: UNIX + i64::try_from(wall.as_nanos() / 100).unwrap_or_default(),
        }
    }
}

/// `2024-05-06T07:08:09Z`, with or without a fraction.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !in_range || second > 60 {
        return None;
    }
    let fraction = match fraction {
        "" => 0,
        digits => format!("{digits:0<7}").get(..7)?.parse::<i64>().ok()?,
    };
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Some(UNIX + seconds * SECOND + fraction)
}

pub(crate) fn format(ticks: i64) -> String {
    let since = ticks - UNIX;
    let (seconds, fraction) = (since.div_euclid(SECOND), since.rem_euclid(SECOND));
    let (day, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, date) = civil(day);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    let millis = fraction / 10_000;
    if millis == 0 {
        format!("{year:04}-{month:02}-{date:02}T{clock}Z")
    } else {
        format!("{year:04}-{month:02}-{date:02}T{clock}.{millis:03}Z")
    }
}

/// Days since 1970, by counting years from March on, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The reverse of [`days`].
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, date)
}
