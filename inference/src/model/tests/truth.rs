use super::tiny::{HEAD_DIM, HEADS, Tiny, WIDTH};

/// The logits of every token, in f64: `[token][vocabulary]`.
pub(super) fn truth(tiny: &Tiny, tokens: &[u32]) -> Vec<f64> {
    let head = tiny.values("output.weight").or_else(|| tiny.values("token_embd.weight")).unwrap();
    let dot = |w: &[f64], x: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    let hidden = hidden(tiny, tokens);
    hidden.iter().flat_map(|x| head.chunks_exact(WIDTH).map(move |w| dot(w, x))).collect()
}

/// What the output matrix takes of every token: the forward pass in f64, written as plainly as can be.
pub(crate) fn hidden(tiny: &Tiny, tokens: &[u32]) -> Vec<Vec<f64>> {
    let kv_heads = tiny.numbers["llama.attention.head_count_kv"] as usize;
    let rope_dims = tiny.numbers.get("llama.rope.dimension_count").map_or(HEAD_DIM, |&dims| dims as usize);
    let base = tiny.floats.get("llama.rope.freq_base").map_or(10_000.0, |&base| f64::from(base));
    let stretch = tiny.floats.get("llama.rope.scaling.factor").map_or(1.0, |&factor| f64::from(factor));
    let divisors = tiny.values("rope_freqs.weight");
    let linear = |name: &str, x: &[f64]| -> Vec<f64> {
        let w = tiny.values(&format!("{name}.weight")).unwrap();
        let product = w.chunks_exact(x.len()).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>());
        match tiny.values(&format!("{name}.bias")) {
            Some(bias) => product.zip(bias).map(|(y, bias)| y + bias).collect(),
            None => product.collect(),
        }
    };
    let norm = |name: &str, x: &[f64]| -> Vec<f64> {
        let root = (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + 1e-5).sqrt();
        x.iter().zip(tiny.values(name).unwrap()).map(|(x, w)| x / root * w).collect()
    };
    let rope = |x: &mut [f64], position: usize| {
        for head in x.chunks_exact_mut(HEAD_DIM) {
            for i in 0..rope_dims / 2 {
                let divisor = divisors.as_ref().map_or(1.0, |divisors| divisors[i]);
                let angle = position as f64 / stretch * base.powf(-2.0 * i as f64 / rope_dims as f64) / divisor;
                let (a, b) = (head[2 * i], head[2 * i + 1]);
                (head[2 * i], head[2 * i + 1]) = (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos());
            }
        }
    };
    let embedding = tiny.values("token_embd.weight").unwrap();
    let mut xs: Vec<Vec<f64>> =
        tokens.iter().map(|&token| embedding[token as usize * WIDTH..][..WIDTH].to_vec()).collect();
    for layer in 0..2 {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (position, x) in xs.iter_mut().enumerate() {
            let normed = norm(&name("attn_norm.weight"), x);
            let mut query = linear(&name("attn_q"), &normed);
            let mut key = linear(&name("attn_k"), &normed);
            rope(&mut query, position);
            rope(&mut key, position);
            keys.push(key);
            values.push(linear(&name("attn_v"), &normed));
            let mut attended = Vec::new();
            for (head, query) in query.chunks_exact(HEAD_DIM).enumerate() {
                let of_kv = head / (HEADS / kv_heads) * HEAD_DIM..(head / (HEADS / kv_heads) + 1) * HEAD_DIM;
                let dot = |key: &Vec<f64>| key[of_kv.clone()].iter().zip(query).map(|(k, q)| k * q).sum::<f64>();
                let weights: Vec<f64> = keys.iter().map(|key| (dot(key) / (HEAD_DIM as f64).sqrt()).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for d in of_kv {
                    attended
                        .push(weights.iter().zip(&values).map(|(weight, value)| weight * value[d]).sum::<f64>() / sum);
                }
            }
            let added = linear(&name("attn_output"), &attended);
            x.iter_mut().zip(added).for_each(|(x, y)| *x += y);
            let normed = norm(&name("ffn_norm.weight"), x);
            let gate = linear(&name("ffn_gate"), &normed);
            let up = linear(&name("ffn_up"), &normed);
            let hidden: Vec<f64> = gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
            let added = linear(&name("ffn_down"), &hidden);
            x.iter_mut().zip(added).for_each(|(x, y)| *x += y);
        }
    }
    xs.iter().map(|x| norm("output_norm.weight", x)).collect()
}
