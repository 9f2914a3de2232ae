//! Tells one model file from another without reading all of it.

use xxhash_rust::xxh3::Xxh3;

use super::Gguf;

/// Bytes that are looked at in one place of a tensor.
const SAMPLE: usize = 4096;

impl Gguf {
    /// A number that two files have in common only if they are the same model: a hash (XXH3, 128 bits) of the file's
    /// length, its header, so all metadata, the vocabulary and the directory of tensors, and 4 KiB from the beginning, the
    /// middle and the end of each tensor.
    ///
    /// Models of one family that were trained differently differ in every tensor, so that looking at all of it would tell
    /// no more, and would cost a second a gigabyte where the file is not in memory. It tells apart what people use; it does
    /// not withstand somebody who makes two files alike on purpose.
    pub fn fingerprint(&self) -> u128 {
        let file: &[u8] = self.bytes.as_ref();
        let mut tensors: Vec<_> = self.tensors.values().collect();
        tensors.sort_unstable_by_key(|info| info.offset);
        let header = tensors.first().map_or(file.len(), |info| info.offset);
        let mut hash = Xxh3::new();
        hash.update(&self.file_bytes().to_le_bytes());
        hash.update(&file[..header]);
        for data in tensors.into_iter().map(|info| self.data(info)) {
            let sample = SAMPLE.min(data.len());
            for from in [0, (data.len() - sample) / 2, data.len() - sample] {
                hash.update(&data[from..from + sample]);
            }
        }
        hash.digest128()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gguf;
    use super::super::writer::Writer;

    #[test]
    fn another_model_has_another_fingerprint() {
        let of = |layers: u32, first: u8, second: usize| {
            let mut data = vec![1; second];
            data[second / 2] = first;
            let file = Writer::new().u32("llama.block_count", layers).tensor("norm", 0, &[4], &[first; 16]);
            Gguf::from_bytes(file.tensor("matrix", 1, &[second as u64 / 2], &data).finish()).unwrap().fingerprint()
        };
        let first = of(3, 1, 65_536);
        assert_eq!(of(3, 1, 65_536), first);
        for other in [of(4, 1, 65_536), of(3, 2, 65_536), of(3, 1, 65_504)] {
            assert_ne!(other, first);
        }
        assert_ne!(
            Gguf::from_bytes(Writer::new().finish()).unwrap().fingerprint(),
            Gguf::from_bytes(Writer::new().u32("a", 1).finish()).unwrap().fingerprint(),
            "without tensors, too"
        );
    }
}
