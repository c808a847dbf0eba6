//! Where the characters of a text lie in registers.

use super::StringOrder;

/// The characters one behind the other. Where each register has one of them and the
/// other byte is 0, which no text with two in a register has, that is seen.
pub(super) fn in_order(wire: &[u8], order: StringOrder) -> Vec<u8> {
    let pairs = wire.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    match (order, single(wire)) {
        (StringOrder::HighOnly, _) | (StringOrder::High | StringOrder::Low, Some(Half::High)) => {
            pairs.map(|(high, _)| high).collect()
        }
        (StringOrder::LowOnly, _) | (StringOrder::High | StringOrder::Low, Some(Half::Low)) => {
            pairs.map(|(_, low)| low).collect()
        }
        (StringOrder::Low, None) => {
            let odd = wire.len() % 2;
            let swapped = pairs.flat_map(|(high, low)| [low, high]);
            swapped
                .chain(wire[wire.len() - odd..].iter().copied())
                .collect()
        }
        (StringOrder::High, None) => wire.to_vec(),
    }
}

enum Half {
    High,
    Low,
}

/// In which half the characters are, when the other one is 0 in each register up to
/// the last character. Of one register nobody can tell.
fn single(wire: &[u8]) -> Option<Half> {
    let all = || wire.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let used = all().take_while(|pair| *pair != (0, 0)).count();
    let rest_is_empty = all().skip(used).all(|pair| pair == (0, 0));
    if used < 2 || !rest_is_empty {
        return None;
    }
    if all().take(used).all(|(high, low)| high == 0 && low != 0) {
        return Some(Half::Low);
    }
    (all().take(used).all(|(high, low)| high != 0 && low == 0)).then_some(Half::High)
}

/// How many characters fit into so many bytes.
pub(super) fn room(size: usize, order: StringOrder) -> usize {
    match order {
        StringOrder::High | StringOrder::Low => size,
        StringOrder::HighOnly | StringOrder::LowOnly => size / 2,
    }
}

/// Puts characters into their places, and 0 into the others.
pub(super) fn put(bytes: &[u8], order: StringOrder, wire: &mut [u8]) {
    wire.fill(0);
    for (index, byte) in bytes.iter().enumerate() {
        let at = match order {
            StringOrder::High => index,
            // The last of an odd number of bytes stands alone.
            StringOrder::Low if index | 1 >= wire.len() => index,
            StringOrder::Low => index ^ 1,
            StringOrder::HighOnly => index * 2,
            StringOrder::LowOnly => index * 2 + 1,
        };
        if let Some(place) = wire.get_mut(at) {
            *place = *byte;
        }
    }
}
