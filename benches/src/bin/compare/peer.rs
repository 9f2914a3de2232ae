//! How llama.cpp is built so that a comparison is fair: at its best, or for the same instruction set.

use crate::Isa;

/// What to install, and how, for a comparison with an instruction set, or with the best of both.
pub(crate) fn how_to_install(isa: Option<Isa>) -> String {
    let arguments = match isa.map(Isa::name) {
        Some("avx2") => "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON",
        Some("avx512") => {
            "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=ON \
             -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON"
        }
        _ => "-DGGML_NATIVE=ON",
    };
    format!(
        "To install it, some four minutes on two cores (with Debian's gcc 12 its AMX code dies of an illegal instruction, and \
         clang 14 builds it without AMX):\n\
         \n    apt-get install clang-19 python3-venv\n    python3 -m venv peer\n    \
         CC=clang-19 CXX=clang++-19 CMAKE_ARGS=\"{arguments} -DGGML_OPENMP=OFF\" \\\n        \
         peer/bin/pip install --no-cache-dir --no-binary llama-cpp-python llama-cpp-python\n\
         \nand then add: --peer-python peer/bin/python"
    )
}

/// What makes a comparison unfair, if anything: the instruction sets that the peer was built for are not those wanted.
pub(crate) fn mismatch(features: &[String], isa: Option<Isa>, machine_has_amx: bool) -> Option<String> {
    let has = |prefix: &str| features.iter().any(|feature| feature.starts_with(prefix));
    let what = match isa.map(Isa::name) {
        Some("avx2") if has("AVX512") || has("AMX") => "is built for more than AVX2",
        Some("avx512") if has("AMX") => "is built for AMX too",
        Some("avx512") if !has("AVX512_VNNI") => "is built without AVX-512-VNNI",
        None | Some("amx") if machine_has_amx && !has("AMX") => "is built without AMX, which this processor has",
        _ => return None,
    };
    Some(format!("This llama.cpp {what}, so the comparison is not fair.\n{}", how_to_install(isa)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_built_otherwise_is_named() {
        let find = |isa: &str| Isa::ALL.into_iter().find(|known| known.name() == isa);
        let (avx2, avx512) = (["AVX2", "FMA"].as_slice(), ["AVX2", "AVX512", "AVX512_VNNI"].as_slice());
        let amx = ["AVX2", "AVX512_VNNI", "AMX_INT8"].as_slice();
        for (features, isa, machine_has_amx, fair) in [
            (avx2, Some("avx2"), true, true),
            (avx512, Some("avx2"), true, false),
            (avx512, Some("avx512"), true, true),
            (avx2, Some("avx512"), true, false),
            (amx, Some("avx512"), true, false),
            (amx, None, true, true),
            (avx512, Some("amx"), true, false),
            (avx512, None, true, false),
            (avx512, None, false, true),
        ] {
            let owned: Vec<String> = features.iter().map(|&feature| feature.to_owned()).collect();
            let warning = mismatch(&owned, isa.and_then(find), machine_has_amx);
            assert_eq!(warning.is_none(), fair, "{features:?} {isa:?}: {warning:?}");
        }
    }

    #[test]
    fn an_instruction_set_has_a_build_of_its_own() {
        let install = |name: &str| how_to_install(Isa::ALL.into_iter().find(|isa| isa.name() == name));
        assert!(how_to_install(None).contains("\"-DGGML_NATIVE=ON -DGGML_OPENMP=OFF\""));
        assert!(install("avx2").contains("-DGGML_NATIVE=OFF") && !install("avx2").contains("AVX512"));
        assert!(install("avx512").contains("-DGGML_AVX512_VNNI=ON") && !install("avx512").contains("AMX_"));
    }
}
