//! Arrays as numpy reads them (`numpy.lib.format`, version 1.0).

/// Bytes of the fixed part: magic, version, length of the header.
const PREFIX: usize = 10;
/// The data begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// The bytes of an `.npy` file of `values` as little-endian f32, row-major, in `shape`; `None` where the shape holds
/// another number of values.
pub fn npy_f32(shape: &[usize], values: &[f32]) -> Option<Vec<u8>> {
    if shape.iter().product::<usize>() != values.len() {
        return None;
    }
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    // Python writes a tuple of one with a comma.
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{comma}), }}", sides.join(", "));
    let length = (PREFIX + header.len() + 1).next_multiple_of(ALIGNMENT) - PREFIX;
    header.push_str(&" ".repeat(length - header.len() - 1));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    // A shape has few sides: the length is far below 65536.
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/fixtures/make_inspect.py` wrote the file with `numpy.save`.
    #[test]
    fn the_file_is_the_one_that_numpy_writes() {
        let values = [0.0, -1.5, 2.0, 3e-8, std::f32::consts::PI, -80.0];
        assert_eq!(npy_f32(&[2, 3], &values).unwrap(), include_bytes!("../tests/fixtures/small.npy"));
    }

    #[test]
    fn data_begin_at_a_multiple_of_64_for_every_shape() {
        for shape in [vec![0], vec![7], vec![3, 224, 224], vec![1_000_000, 1], vec![1; 12]] {
            let values = vec![1.0; shape.iter().product()];
            let bytes = npy_f32(&shape, &values).unwrap();
            let data = bytes.len() - 4 * values.len();
            assert!(data.is_multiple_of(64), "{shape:?}: {data}");
            assert_eq!(bytes[data - 1], b'\n');
            assert_eq!(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])) + 10, data);
        }
        assert!(npy_f32(&[7], &[0.0; 7]).is_some_and(|bytes| bytes.windows(4).any(|part| part == b"(7,)")));
    }

    #[test]
    fn a_shape_of_another_size_is_refused() {
        assert_eq!(npy_f32(&[2, 2], &[0.0; 3]), None);
    }
}
