use proptest::prelude::*;

use super::*;

fn weights(shape: Shape, raw: &[i8], numbers: &[i16], scale: f32, rest: bool) -> Weights {
    let weight = |at: usize| raw[at % raw.len()].max(-127);
    Weights {
        chunks: (0..shape.chunks)
            .map(|c| std::array::from_fn(|s| std::array::from_fn(|d| weight(c * PLANE_WIDTH + s * STEP + d * 7))))
            .collect(),
        scale,
        offset: f32::from(numbers[0]) / 7.0,
        lengths: (0..shape.lengths).map(|n| numbers[n + 2].unsigned_abs().min(i16::MAX as u16)).collect(),
        rest,
    }
}

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
    /// Every shape, every number of groups and queries, every alignment of the codes.
    #[test]
    fn every_kernel_computes_what_the_portable_one_does(
        shape in (0usize..8, 0usize..4),
        groups in 0usize..9,
        queries in 1usize..9,
        shift in 0usize..65,
        first: bool,
        rest: bool,
        bytes in proptest::collection::vec(any::<u8>(), 997),
        raw in proptest::collection::vec(any::<i8>(), 61),
        numbers in proptest::collection::vec(any::<i16>(), 89),
        alive in proptest::collection::vec(any::<u16>(), GROUPS),
        extreme in 0usize..8,
        scale in 0.0f32..0.2,
    ) {
        let shape = Shape { chunks: shape.0, lengths: shape.1 };
        let raw: Vec<i8> = match extreme { 0 => vec![127], 1 => vec![-127], 2 => vec![127, -127], _ => raw };
        let queries: Vec<Weights> = (0..queries)
            .map(|q| weights(shape, &raw[q % raw.len()..], &numbers[q..], scale / (q + 1) as f32, rest && shape.lengths > 0))
            .collect();
        let length = groups * shape.bytes();
        let codes: Vec<u8> =
            (0..shift + length).map(|i| if extreme == 1 { 255 } else { bytes[i * 3 % bytes.len()] }).collect();
        let thresholds: Vec<i16> = (0..queries.len()).map(|q| numbers[(q * 3 + 40) % numbers.len()]).collect();
        let before = Bounds {
            sums: std::array::from_fn(|i| std::array::from_fn(|r| numbers[(i * 5 + r) % numbers.len()] / 4)),
            alive: std::array::from_fn(|g| if extreme == 3 { 0 } else { alive[g] }),
        };
        let pass = Pass { shape, codes: &codes[shift..], queries: &queries, thresholds: &thresholds, first };
        let run = |isa| {
            let mut results = vec![before.clone(); queries.len()];
            scan_with(isa, pass, &mut results);
            // Groups without rows are skipped or not, as it suits.
            let living = results.iter().map(|result| {
                result.sums.iter().zip(result.alive).zip(before.alive).filter(|(_, old)| *old != 0).map(|(now, _)| (*now.0, now.1)).collect::<Vec<_>>()
            });
            living.collect::<Vec<_>>()
        };
        let expected = run(Isa::Portable);
        for isa in kinds() {
            prop_assert_eq!(&run(isa), &expected, "{:?}", isa);
        }
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
