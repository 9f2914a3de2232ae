//! Writes small GGUF files, sound or not, for tests.

/// A file under construction. Nothing is checked.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// Announced counts, where they are not to be the true ones.
    pub(crate) tensor_count: Option<u64>,
    pub(crate) key_count: Option<u64>,
    pub(crate) alignment: u64,
    keys: Vec<u8>,
    keys_written: u64,
    directory: Vec<u8>,
    tensors_written: u64,
    data: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            key_count: None,
            alignment: 32,
            keys: Vec::new(),
            keys_written: 0,
            directory: Vec::new(),
            tensors_written: 0,
            data: Vec::new(),
        }
    }

    /// A key with a value given as its type id and raw bytes.
    pub(crate) fn raw(mut self, key: &str, value_type: u32, value: &[u8]) -> Self {
        self.keys.extend(text(key));
        self.keys.extend(value_type.to_le_bytes());
        self.keys.extend(value);
        self.keys_written += 1;
        self
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, 7, &[u8::from(value)])
    }

    pub(crate) fn str(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &text(value))
    }

    /// An array given as its element type id, announced length and raw bytes.
    pub(crate) fn array(self, key: &str, element_type: u32, len: u64, elements: &[u8]) -> Self {
        self.raw(key, 9, &[&element_type.to_le_bytes()[..], &len.to_le_bytes(), elements].concat())
    }

    pub(crate) fn strs<S: AsRef<str>>(self, key: &str, values: &[S]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| text(value.as_ref())).collect();
        self.array(key, 8, values.len() as u64, &elements)
    }

    pub(crate) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 5, values.len() as u64, &elements)
    }

    /// A tensor whose data is appended at the next aligned place.
    pub(crate) fn tensor(mut self, name: &str, type_id: u32, dimensions: &[u64], data: &[u8]) -> Self {
        let offset = (self.data.len() as u64).next_multiple_of(self.alignment);
        self.data.resize(offset as usize, 0);
        self.data.extend(data);
        self.entry(name, type_id, dimensions, offset)
    }

    /// A directory entry without data.
    pub(crate) fn entry(mut self, name: &str, type_id: u32, dimensions: &[u64], offset: u64) -> Self {
        self.directory.extend(text(name));
        self.directory.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|dimension| self.directory.extend(dimension.to_le_bytes()));
        self.directory.extend(type_id.to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.tensors_written += 1;
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(self.magic);
        file.extend(self.version.to_le_bytes());
        file.extend(self.tensor_count.unwrap_or(self.tensors_written).to_le_bytes());
        file.extend(self.key_count.unwrap_or(self.keys_written).to_le_bytes());
        file.extend(self.keys);
        file.extend(self.directory);
        file.resize(file.len().next_multiple_of(self.alignment as usize), 0);
        file.extend(self.data);
        file
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}
