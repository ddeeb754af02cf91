use proptest::prelude::*;

use super::*;

/// Weights within what a pass allows: none overflows 16 bits within a chunk.
fn weights(steps: usize, raw: &[i8], scale: f32, offset: f32, row: u16, group: u16) -> Weights {
    let mut steps: Vec<[i8; STEP]> =
        (0..steps).map(|s| std::array::from_fn(|d| raw[(s * STEP + d * 7) % raw.len()].max(-127))).collect();
    for chunk in steps.chunks_mut(CHUNK) {
        for pair in 0..2 {
            let lane = |w: &[i8; STEP]| {
                (0..STEP).filter(|d| d % 4 / 2 == pair).map(|d| u32::from(w[d].unsigned_abs())).sum::<u32>()
            };
            while chunk.iter().map(lane).sum::<u32>() > LANE_LIMIT {
                for w in chunk.iter_mut() {
                    for d in (0..STEP).filter(|d| d % 4 / 2 == pair) {
                        w[d] -= w[d].signum();
                    }
                }
            }
        }
    }
    Weights { steps, scale, offset, row, group }
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
    /// Every number of steps, groups, lanes and queries, at every alignment of the codes.
    #[test]
    fn every_kernel_computes_what_the_portable_one_does(
        steps in 0usize..20,
        lanes in 1usize..4,
        groups in 0usize..6,
        queries in 1usize..11,
        shift in 0usize..65,
        last: bool,
        bytes in proptest::collection::vec(any::<u8>(), 997),
        raw in proptest::collection::vec(any::<i8>(), 61),
        numbers in proptest::collection::vec(any::<i16>(), 89),
        extreme in 0usize..8,
        scale in 0.0f32..0.2,
    ) {
        let raw: Vec<i8> = match extreme { 0 => vec![127], 1 => vec![-127], 2 => vec![127, -127], _ => raw };
        let queries: Vec<Weights> = (0..queries)
            .map(|q| weights(steps, &raw[q % raw.len()..], scale / (q + 1) as f32, f32::from(numbers[q]) / 7.0, numbers[q + 11] as u16, numbers[q + 22] as u16))
            .collect();
        let length = groups * block_bytes(steps);
        let store: Vec<Vec<u8>> = (0..lanes)
            .map(|lane| (0..shift + length).map(|i| if extreme == 1 { 255 } else { bytes[(i * 3 + lane) % bytes.len()] }).collect())
            .collect();
        let errors: Vec<u16> = (0..groups).map(|g| numbers[(g * 5) % numbers.len()] as u16).collect();
        let lane_list: Vec<Lane<'_>> = store
            .iter()
            .enumerate()
            .map(|(n, codes)| Lane { codes: &codes[shift..], errors: &errors, first: n * groups })
            .collect();
        let thresholds: Vec<i16> = (0..queries.len()).map(|q| numbers[(q * 3 + 40) % numbers.len()]).collect();
        let count = lanes * groups * queries.len();
        let sums: Vec<[i16; GROUP]> = (0..count).map(|i| std::array::from_fn(|r| numbers[(i * 5 + r) % numbers.len()] / 4)).collect();
        let tops: Vec<i16> = (0..count).map(|i| numbers[(i * 17) % numbers.len()]).collect();
        let pass = Pass { lanes: &lane_list, queries: &queries, thresholds: &thresholds, last };
        let run = |isa| {
            let (mut sums, mut tops) = (sums.clone(), tops.clone());
            scan_with(isa, pass, Results { groups: lanes * groups, sums: &mut sums, tops: &mut tops });
            (sums, tops)
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
