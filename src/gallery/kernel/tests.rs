use proptest::prelude::*;

use super::*;

fn kinds() -> Vec<Isa> {
    #[allow(unused_mut, clippy::allow_attributes)]
    let mut kinds = vec![Isa::best()];
    #[cfg(target_arch = "x86_64")]
    {
        kinds.extend(x86::has_avx2().then_some(Isa::Avx2));
        kinds.extend(x86::has_vnni().then_some(Isa::Avx512Vnni));
    }
    kinds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Every shape, every number of groups and queries, every alignment of the sketches.
    #[test]
    fn every_kernel_equals_the_portable_bounds(
        fine in 0usize..36,
        coarse in 0usize..36,
        groups in 0usize..9,
        queries in 1usize..9,
        shift in 0usize..65,
        bytes in proptest::collection::vec(any::<u8>(), 997),
        raw in proptest::collection::vec(-127i8..=127, 61),
        numbers in proptest::collection::vec(any::<i16>(), 89),
        extreme in 0usize..8,
        scale in 0.0f32..0.2,
    ) {
        let shape = Shape { fine, coarse };
        let raw: Vec<i8> = match extreme { 0 => vec![127], 1 => vec![-127], 2 => vec![127, -127], _ => raw };
        let queries: Vec<Weights> = (0..queries)
            .map(|q| Weights {
                quads: (0..shape.axes() / 4).map(|n| std::array::from_fn(|d| raw[(n * 4 + d * 7 + q) % raw.len()])).collect(),
                scale: scale / (q + 1) as f32,
                offset: f32::from(numbers[q]) / 7.0,
                norm: numbers[q + 20].unsigned_abs().min(i16::MAX as u16),
            })
            .collect();
        let length = groups * shape.bytes();
        let sketches: Vec<u8> =
            (0..shift + length).map(|i| if extreme < 2 { 255 } else { bytes[i * 3 % bytes.len()] }).collect();
        let run = |isa| {
            let mut rows = vec![vec![0; groups * GROUP]; queries.len()];
            let mut results: Vec<Bounds<'_>> = rows.iter_mut().map(|rows| Bounds { rows, highest: 0 }).collect();
            scan_with(isa, Pass { shape, sketches: &sketches[shift..], queries: &queries }, &mut results);
            let highest: Vec<u8> = results.iter().map(|result| result.highest).collect();
            (rows, highest)
        };
        let expected = run(Isa::Portable);
        for (rows, highest) in expected.0.iter().zip(&expected.1) {
            prop_assert_eq!(rows.iter().copied().max().unwrap_or(0), *highest);
        }
        for isa in kinds() {
            prop_assert_eq!(&run(isa), &expected, "{:?}", isa);
        }
    }

    /// Fine codes: every width and alignment, rows in any order.
    #[test]
    fn every_kernel_equals_the_portable_fine_code_sums(
        halves in 0usize..10,
        count in 1usize..40,
        shift in 0usize..65,
        rows in proptest::collection::vec(0u16..40, 0..50),
        bytes in proptest::collection::vec(any::<u8>(), 997),
        raw in proptest::collection::vec(-127i8..=127, 61),
        extreme: bool,
        whole: bool,
    ) {
        let weights: Vec<i8> = (0..halves * WIDTH).map(|n| if extreme { 127 } else { raw[n * 5 % raw.len()] }).collect();
        let (row_bytes, most) = if whole { (weights.len(), 127) } else { (weights.len() / 2, 255) };
        let length = shift + count * row_bytes;
        let codes: Vec<u8> = (0..length).map(|i| if extreme { most } else { bytes[i * 3 % bytes.len()] & most }).collect();
        let rows: Vec<u16> = rows.into_iter().filter(|row| usize::from(*row) < count).collect();
        let run = |isa| {
            let mut totals = vec![1, 2, 3];
            fine_code_sums_with(isa, &codes[shift..], row_bytes, &weights, &rows, &mut totals);
            totals
        };
        let expected = run(Isa::Portable);
        prop_assert_eq!(expected.len(), rows.len());
        for isa in kinds() {
            prop_assert_eq!(&run(isa), &expected, "{:?}", isa);
        }
    }

    #[test]
    fn rows_reaching_lists_all_bounds_at_or_above_the_threshold(
        bounds in proptest::collection::vec(100u8..150, 0..200),
        threshold in prop_oneof![90u8..160, Just(0), Just(255)],
    ) {
        let expected: Vec<u16> =
            bounds.iter().enumerate().filter(|(_, bound)| **bound >= threshold).map(|(at, _)| at as u16).collect();
        let mut found = vec![7];
        rows_reaching(&bounds, threshold, &mut found);
        prop_assert_eq!(&found, &expected);
        found.clear();
        reaching_in_groups(0, &bounds, threshold, &mut found);
        prop_assert_eq!(&found, &expected);
    }

    #[test]
    fn the_dot_product_agrees_with_f64(pairs in proptest::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 0..300)) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        prop_assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-4);
        prop_assert_eq!(dot(&a, &b).to_bits(), dot_in_lanes(&a, &b).to_bits());
    }

    #[test]
    fn a_rotation_is_a_matrix_product(
        inputs in 1usize..40,
        tiles in 1usize..4,
        rows in 0usize..9,
        values in proptest::collection::vec(-1.0f32..1.0, 300),
    ) {
        let width = tiles * ROTATE_WIDTH;
        let matrix: Vec<f32> = (0..inputs * width).map(|i| values[(i * 7) % values.len()]).collect();
        let data: Vec<f32> = (0..rows * inputs).map(|i| values[(i * 11) % values.len()]).collect();
        let mut out = vec![0.0; rows * width];
        rotate(&matrix, width, &data, &mut out);
        for (row, out) in data.chunks(inputs).zip(out.chunks(width)) {
            for (column, out) in out.iter().enumerate() {
                let exact: f64 = row.iter().enumerate().map(|(i, x)| f64::from(*x) * f64::from(matrix[i * width + column])).sum();
                prop_assert!((f64::from(*out) - exact).abs() < 1e-4);
            }
        }
    }
}
