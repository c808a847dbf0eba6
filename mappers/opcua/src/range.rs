//! Parts of arrays, for servers that give and take the whole all the same.
//!
//! A server that does not know index ranges answers with the whole array, and would
//! put one element in the place of all of them. Both show: what comes is larger than
//! what was asked for. Then the part is taken, and put, here.

use opcua::types::{Array, NumericRange, Variant};

/// First and last index of each dimension; empty for no range.
fn bounds(range: &NumericRange) -> Vec<(usize, usize)> {
    let one = |range: &NumericRange| match range {
        NumericRange::Index(index) => Some((*index as usize, *index as usize)),
        NumericRange::Range(first, last) => Some((*first as usize, *last as usize)),
        NumericRange::None | NumericRange::MultipleRanges(_) => None,
    };
    match range {
        NumericRange::MultipleRanges(all) => all.iter().filter_map(one).collect(),
        range => one(range).into_iter().collect(),
    }
}

/// Whether a range names one element and not several.
pub(crate) fn is_one(range: &NumericRange) -> bool {
    let all = bounds(range);
    !all.is_empty() && all.iter().all(|(first, last)| first == last)
}

/// How many dimensions a range has.
pub(crate) fn dimensions(range: &NumericRange) -> usize {
    bounds(range).len()
}

/// The sizes of an array's dimensions.
fn sizes(array: &Array) -> Vec<usize> {
    match array.dimensions.as_deref() {
        Some(sizes) if !sizes.is_empty() => sizes.iter().map(|size| *size as usize).collect(),
        _ => vec![array.values.len()],
    }
}

/// Whether an array has more in it than a range asks for: the server ignored it.
pub(crate) fn is_ignored(array: &Array, range: &NumericRange) -> bool {
    let (bounds, sizes) = (bounds(range), sizes(array));
    bounds.len() == sizes.len()
        && bounds
            .iter()
            .zip(&sizes)
            .any(|((first, last), size)| *size > last - first + 1)
}

/// Where the elements of a range lie in an array, in their order; `None` where the
/// array ends before.
fn places(array: &Array, range: &NumericRange) -> Option<Vec<usize>> {
    let (bounds, sizes) = (bounds(range), sizes(array));
    let fits = bounds.len() == sizes.len()
        && bounds
            .iter()
            .zip(&sizes)
            .all(|((first, _), size)| first < size);
    if !fits {
        return None;
    }
    let mut places = vec![0];
    for ((first, last), size) in bounds.iter().zip(&sizes) {
        // What lies behind the end is left out (OPC 10000-4, 7.27).
        let last = (*last).min(size - 1);
        let inner = |place: usize| (*first..=last).map(move |index| place * size + index);
        places = places.into_iter().flat_map(inner).collect();
    }
    places
        .iter()
        .all(|place| *place < array.values.len())
        .then_some(places)
}

/// The part of a whole array.
pub(crate) fn part(array: &Array, range: &NumericRange) -> Option<Array> {
    let values = places(array, range)?;
    let values = values.into_iter().map(|place| array.values[place].clone());
    let sizes = bounds(range).into_iter().zip(sizes(array));
    let sizes = sizes.map(|((first, last), size)| (last.min(size - 1) - first + 1) as u32);
    Some(Array {
        value_type: array.value_type,
        values: values.collect(),
        dimensions: array.dimensions.as_ref().map(|_| sizes.collect()),
    })
}

/// Puts values into their places; whether they are there, and as many.
pub(crate) fn put(array: &mut Array, range: &NumericRange, values: Vec<Variant>) -> bool {
    match places(array, range) {
        Some(places) if places.len() == values.len() => {
            for (place, value) in places.into_iter().zip(values) {
                array.values[place] = value;
            }
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use opcua::types::VariantScalarTypeId as Type;

    use super::*;

    fn list(values: &[i32]) -> Array {
        let values: Vec<_> = values.iter().map(|value| Variant::Int32(*value)).collect();
        Array::new(Type::Int32, values).expect("of one type")
    }

    fn matrix() -> Array {
        let values: Vec<_> = (0..12).map(Variant::Int32).collect();
        Array::new_multi(Type::Int32, values, vec![3, 4]).expect("of one type")
    }

    fn range(text: &str) -> NumericRange {
        text.parse().expect("a range")
    }

    #[test]
    fn a_part_is_taken_of_lists_and_of_matrices() {
        let whole = list(&[5, 6, 7, 8]);
        assert_eq!(part(&whole, &range("2")), Some(list(&[7])));
        assert_eq!(part(&whole, &range("1:2")), Some(list(&[6, 7])));
        // As far as it goes.
        assert_eq!(part(&whole, &range("3:9")), Some(list(&[8])));
        assert_eq!(part(&whole, &range("4")), None);
        let block = part(&matrix(), &range("1:2,2:3")).expect("inside");
        assert_eq!(block.values, [6, 7, 10, 11].map(Variant::Int32));
        assert_eq!(block.dimensions, Some(vec![2, 2]));
        assert_eq!(part(&matrix(), &range("1")), None);
    }

    #[test]
    fn a_part_is_put_where_it_belongs() {
        let mut whole = matrix();
        assert!(put(
            &mut whole,
            &range("0:1,3"),
            vec![Variant::Int32(-1), Variant::Int32(-2)]
        ));
        assert_eq!(
            (&whole.values[3], &whole.values[7]),
            (&Variant::Int32(-1), &Variant::Int32(-2))
        );
        assert!(!put(&mut whole, &range("0,0:1"), vec![Variant::Int32(1)]));
        assert!(!put(&mut whole, &range("3,0"), vec![Variant::Int32(1)]));
    }

    #[test]
    fn a_server_that_ignores_a_range_gives_more_than_was_asked_for() {
        assert!(is_ignored(&list(&[1, 2, 3]), &range("1")));
        assert!(!is_ignored(&list(&[1]), &range("1")));
        assert!(is_ignored(&matrix(), &range("1,1:2")));
        assert!(is_one(&range("1,2")) && is_one(&range("4")));
        assert!(!is_one(&range("1,2:3")) && !is_one(&NumericRange::None));
    }
}
