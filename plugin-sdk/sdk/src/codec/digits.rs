//! Numbers that are no binary ones: decimal digits, and a sign beside a magnitude.

/// Two decimal digits in each of `size` bytes.
pub(super) fn from_bcd(bits: u64, size: usize) -> Result<u64, String> {
    let mut number = 0;
    for place in (0..size * 2).rev() {
        match bits >> (4 * place) & 0xF {
            digit @ 0..=9 => number = number * 10 + digit,
            _ => {
                let width = size * 2;
                return Err(format!(
                    "0x{bits:0width$X} has digits that are not decimal (BCD)"
                ));
            }
        }
    }
    Ok(number)
}

/// The other way; the number has no more digits than there is room for.
pub(super) fn to_bcd(mut number: u64) -> u64 {
    let (mut bits, mut place) = (0, 0);
    while number > 0 && place < 64 {
        bits |= (number % 10) << place;
        number /= 10;
        place += 4;
    }
    bits
}

/// The highest bit is the sign.
pub(super) fn from_sign_and_magnitude(bits: u64, size: usize) -> i64 {
    let sign = 1_u64 << (size * 8 - 1);
    let magnitude = (bits & (sign - 1)) as i64;
    if bits & sign == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The other way.
pub(super) fn to_sign_and_magnitude(number: i64, size: usize) -> u64 {
    let sign = 1_u64 << (size * 8 - 1);
    number.unsigned_abs() | if number < 0 { sign } else { 0 }
}
