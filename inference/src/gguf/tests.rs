use proptest::prelude::*;

use super::writer::Writer;
use super::*;

fn sound() -> Writer {
    Writer::new()
        .str("general.architecture", "llama")
        .u32("llama.block_count", 3)
        .f32("llama.epsilon", 1e-5)
        .bool("tokenizer.ggml.add_bos_token", true)
        .raw("negative", 5, &(-7i32).to_le_bytes())
        .raw("wide", 10, &u64::MAX.to_le_bytes())
        .strs("tokenizer.ggml.tokens", &["a", "ß", ""])
        .i32s("tokenizer.ggml.token_type", &[1, -2, 3])
        .array("scores", 6, 2, &[0.5f32.to_le_bytes(), (-1.5f32).to_le_bytes()].concat())
        .array("wide array", 10, 1, &u64::MAX.to_le_bytes())
        .raw("infinite", 6, &f32::INFINITY.to_le_bytes())
        .tensor("norm", 0, &[4], &[1u8; 16])
        .tensor("matrix", 8, &[64, 2], &[2u8; 136])
}

#[test]
fn reads_keys_of_every_kind_and_tensors() {
    let gguf = Gguf::from_bytes(sound().finish()).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.str("general.architecture"), Some("llama"));
    assert_eq!(metadata.u32("llama.block_count"), Some(3));
    assert_eq!(metadata.f32("llama.epsilon"), Some(1e-5));
    assert_eq!(metadata.bool("tokenizer.ggml.add_bos_token"), Some(true));
    assert_eq!(metadata.get("negative"), Some(&Value::Negative(-7)));
    assert_eq!(metadata.u64("wide"), Some(u64::MAX));
    assert_eq!(metadata.u32("wide"), None);
    assert_eq!(*metadata.strs("tokenizer.ggml.tokens").unwrap(), ["a", "ß", ""].iter().collect());
    assert_eq!(metadata.i32s("tokenizer.ggml.token_type").unwrap(), [1, -2, 3]);
    assert_eq!(metadata.f32s("scores").unwrap(), [0.5, -1.5]);
    assert_eq!(metadata.i32s("wide array"), None);
    assert!(metadata.f32("infinite").unwrap().is_nan());
    let all = metadata.keys().collect::<Vec<_>>();
    assert_eq!((all.len(), all.is_sorted()), (11, true), "{all:?}");
    assert_eq!(metadata.str("absent"), None);
    assert_eq!(metadata.str("llama.block_count"), None);

    let matrix = gguf.tensor("matrix").unwrap();
    assert_eq!((matrix.block_type, &matrix.dimensions[..], matrix.bytes), (BlockType::Q8_0, &[64, 2][..], 136));
    assert_eq!(gguf.data(matrix), [2u8; 136]);
    assert_eq!(gguf.data(gguf.tensor("norm").unwrap()), [1u8; 16]);
    assert_eq!(gguf.tensor("absent"), None);
}

#[test]
fn agrees_with_gguf_rs_on_a_real_header() {
    let bytes = sound().finish();
    let gguf = Gguf::from_bytes(bytes.clone()).unwrap();
    let model =
        gguf_rs::GGUFContainer::new(gguf_rs::ByteOrder::LE, Box::new(Cursor::new(bytes[4..].to_vec())), u64::MAX)
            .decode()
            .unwrap();
    assert_eq!(gguf.tensors().count(), model.tensors().len());
    for theirs in model.tensors() {
        let ours = gguf.tensor(&theirs.name).unwrap();
        assert_eq!(ours.block_type.id(), theirs.kind);
        assert_eq!(ours.dimensions, theirs.shape);
        assert_eq!(ours.offset as u64, model.data_offset() + theirs.offset);
        assert_eq!(ours.bytes as u64, theirs.size);
    }
    let seen = gguf.metadata();
    assert_eq!(seen.keys().count(), model.metadata().len());
    for (key, theirs) in model.metadata() {
        let Some(theirs) = theirs.as_array() else { continue };
        match seen.get(key).unwrap() {
            Value::Texts(ours) => assert_eq!(*theirs, ours.iter().collect::<Vec<_>>()),
            Value::Integers(ours) => assert_eq!(*theirs, *ours),
            Value::Floats(ours) => assert_eq!(*theirs, *ours),
            other => assert_eq!((&key[..], other), ("wide array", &Value::Other)),
        }
    }
}

#[test]
fn arrays_of_every_type() {
    let array = |element_type, bytes: &[u8], len: u64| {
        let gguf = Gguf::from_bytes(Writer::new().array("array", element_type, len, bytes).finish()).unwrap();
        gguf.metadata().get("array").unwrap().clone()
    };
    let integers = |values: &[i32]| Value::Integers(values.to_vec());
    assert_eq!(array(0, &[0, 255], 2), integers(&[0, 255]));
    assert_eq!(array(1, &[0, 255], 2), integers(&[0, -1]));
    assert_eq!(array(2, &[0, 255], 1), integers(&[0xff00]));
    assert_eq!(array(3, &[0, 255], 1), integers(&[-256]));
    assert_eq!(array(4, &[1, 0, 0, 0, 255, 255, 255, 127], 2), integers(&[1, i32::MAX]));
    assert_eq!(array(4, &[0, 0, 0, 128], 1), Value::Other);
    assert_eq!(array(5, &[0, 0, 0, 128], 1), integers(&[i32::MIN]));
    assert_eq!(array(6, &1.5f32.to_le_bytes(), 1), Value::Floats(vec![1.5]));
    assert_eq!(array(7, &[1, 0], 2), integers(&[1, 0]));
    assert_eq!(array(8, &[1, 0, 0, 0, 0, 0, 0, 0, 255], 1), Value::Texts(["\u{fffd}"].iter().collect()));
    assert_eq!(array(10, &7u64.to_le_bytes(), 1), integers(&[7]));
    assert_eq!(array(11, &(-7i64).to_le_bytes(), 1), integers(&[-7]));
    assert_eq!(array(12, &(-0.5f64).to_le_bytes(), 1), Value::Floats(vec![-0.5]));
    assert_eq!(array(5, &[], 0), integers(&[]));
}

#[test]
fn long_arrays_are_the_tokenizers_alone() {
    let longest = vec![0; limits::OTHER_ARRAY_ELEMENTS as usize + 1];
    let read = |key: &str, len: usize| {
        let gguf = Gguf::from_bytes(Writer::new().array(key, 0, len as u64, &longest[..len]).finish()).unwrap();
        gguf.metadata().i32s(key).map(<[i32]>::len)
    };
    assert_eq!(read("llama.array", longest.len() - 1), Some(longest.len() - 1));
    assert_eq!(read("llama.array", longest.len()), None);
    assert_eq!(read("tokenizer.array", longest.len()), Some(longest.len()));
}

/// The message that a file is refused with.
#[track_caller]
fn refused(file: Vec<u8>) -> String {
    match Gguf::from_bytes(file) {
        Ok(_) => panic!("the file was accepted"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(writer: Writer, message: &str) {
    let seen = refused(writer.finish());
    assert!(seen.contains(message), "{seen:?} does not say {message:?}");
}

#[test]
fn every_cut_of_a_file_is_refused() {
    let file = sound().finish();
    for length in 0..file.len() {
        let message = refused(file[..length].to_vec());
        assert!(message.contains("cut off"), "{length}: {message}");
    }
}

#[test]
fn preamble_faults() {
    let mut other = sound();
    other.magic = *b"PK\x03\x04";
    check(other, "not a GGUF file: it begins with \"PK\\u{3}\\u{4}\"");
    for version in [0, 1, 4, u32::MAX] {
        let mut other = sound();
        other.version = version;
        check(other, &format!("GGUF version {version} is not supported"));
    }
    let mut other = sound();
    other.version = 3u32.swap_bytes();
    check(other, "big-endian");
}

#[test]
fn counts_over_the_limit() {
    let announced = |set: fn(&mut Writer)| {
        let mut writer = sound();
        set(&mut writer);
        writer
    };
    check(announced(|w| w.tensor_count = Some(limits::TENSORS + 1)), "the count of tensors is 65537 at byte 8");
    check(announced(|w| w.key_count = Some(limits::KEYS + 1)), "the count of metadata keys is 16385 at byte 16");
    check(announced(|w| w.tensor_count = Some(u64::MAX)), "over the limit of 65536");
    // At the limit the count is believed, and the file then found too short or damaged.
    let seen = refused(announced(|w| w.key_count = Some(limits::KEYS)).finish());
    assert!(!seen.contains("over the limit of 16384"), "{seen}");
}

#[test]
fn lengths_over_the_limit() {
    let long = "k".repeat(limits::KEY_BYTES as usize);
    assert!(Gguf::from_bytes(sound().u32(&long, 1).finish()).is_ok());
    check(sound().u32(&format!("{long}k"), 1), "a metadata key is 65536 at byte");

    let name = "n".repeat(limits::NAME_BYTES as usize);
    assert!(Gguf::from_bytes(sound().tensor(&name, 0, &[1], &[0; 4]).finish()).is_ok());
    check(sound().tensor(&format!("{name}n"), 0, &[1], &[0; 4]), "a tensor's name is 257 at byte");

    let text = [&limits::TEXT_BYTES.to_le_bytes()[..], &vec![b'x'; limits::TEXT_BYTES as usize]].concat();
    assert!(Gguf::from_bytes(sound().raw("text", 8, &text).finish()).is_ok());
    check(sound().raw("text", 8, &(limits::TEXT_BYTES + 1).to_le_bytes()), "a text's length in bytes is 1048577");
    check(sound().raw("text", 8, &u64::MAX.to_le_bytes()), "a text's length in bytes is 18446744073709551615");
    let longest = vec![String::from_utf8(text[8..].to_vec()).unwrap(); 64];
    check(Writer::new().strs("texts", &longest), "the header's length in bytes is 67109");
    let left = limits::ARRAY_ELEMENTS - 9; // `sound` has nine elements already
    check(sound().array("array", 0, left + 1, &[]), "the count of array elements is 2097153");
    check(sound().array("array", 0, left, &[]), "is cut off");
    check(sound().array("array", 12, u64::MAX, &[]), "the count of array elements");
}

#[test]
fn value_types() {
    check(sound().raw("odd", 13, &[0; 8]), "`odd` has the unknown value type 13");
    check(sound().array("odd", 9, 1, &[0; 32]), "`odd` has the unknown value type 9");
    check(sound().array("odd", 77, 0, &[]), "`odd` has the unknown value type 77");
    check(sound().u32("llama.block_count", 4), "metadata key `llama.block_count` stands in the file twice");
    let message = refused(sound().raw(&format!("\x1b[31m{}", "k".repeat(1_000)), 13, &[]).finish());
    assert!(message.starts_with("metadata key `\\u{1b}[31mkkkk") && message.len() < 300, "{message}");
    let mut broken = Writer::new().str("abc", "x").finish();
    broken[32] = 0xff;
    assert!(refused(broken).contains("a metadata key at byte 24 is not UTF-8"));
}

#[test]
fn alignment() {
    let aligned = |value: u32| {
        let mut writer = Writer::new().u32("general.alignment", value);
        writer.alignment = u64::from(value.clamp(1, 4096));
        writer.tensor("a", 0, &[1], &[1; 4]).tensor("b", 0, &[1], &[2; 4])
    };
    for value in [8, 16, 64, 4096] {
        let gguf = Gguf::from_bytes(aligned(value).finish()).unwrap();
        assert_eq!(gguf.data(gguf.tensor("b").unwrap()), [2; 4], "{value}");
    }
    for value in [0, 1, 4, 33, 96, limits::ALIGNMENT as u32 * 2, u32::MAX] {
        check(aligned(value), "`general.alignment`:");
    }
    check(Writer::new().f32("general.alignment", 32.0), "`general.alignment` has the unknown value type 6");
    check(
        sound().entry("odd", 0, &[1], 4),
        "tensor `odd` begins at data offset 4, which is no multiple of the alignment 32",
    );
}

#[test]
fn tensor_faults() {
    let kind = |id| sound().entry("odd", id, &[256], 0);
    check(
        kind(42),
        "tensor `odd` is stored as an unknown type (type id 42), which is not supported; supported: F32, F16,",
    );
    check(kind(u32::MAX), "type id 4294967295");
    check(kind(4), "type id 4");
    check(kind(15), "Q8_K (type id 15)");

    let shape = |dimensions: &[u64]| sound().entry("odd", 12, dimensions, 0);
    check(shape(&[]), "it has no dimensions");
    check(shape(&[256, 0]), "[256, 0]: a dimension is zero");
    check(shape(&[0]), "a dimension is zero");
    check(shape(&[128]), "its rows are no whole number of blocks");
    check(shape(&[1 << 40, 1 << 40]), "its size overflows 64 bits");
    check(shape(&[256, 1 << 56]), "its size overflows 64 bits");
    check(shape(&[256, 1, 1, 1, 1]), "a tensor's count of dimensions is 5");

    check(sound().entry("norm", 0, &[1], 0), "tensor `norm` stands in the file twice");
    check(sound().entry("far", 0, &[1], 1 << 40), "tensor `far` lies outside the file: 4 bytes from byte");
    check(sound().entry("far", 0, &[1], !31), "tensor `far` lies outside the file");
    check(sound().entry("large", 0, &[1 << 40], 0), "tensor `large` lies outside the file");
    check(sound().entry("twin", 0, &[4], 0), "tensors `norm` and `twin` overlap");
}

#[test]
fn a_missing_file_is_named() {
    let error = Gguf::open(Path::new("/nonexistent/model.gguf")).err().unwrap();
    assert!(error.to_string().starts_with("cannot open the model file /nonexistent/model.gguf: "), "{error}");
}

#[test]
fn an_empty_file_is_cut_off() {
    let path = std::env::temp_dir().join(format!("causerie-empty-{}.gguf", std::process::id()));
    std::fs::write(&path, []).unwrap();
    let error = Gguf::open(&path).err().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        error.to_string(),
        "the file is cut off: the magic at byte 0 takes 4 bytes and 0 are left; fetch the file again"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is done to the bytes, the file is refused or all that it promises is there.
    #[test]
    fn damaged_files_are_refused_or_sound(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = sound().finish();
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(gguf) = Gguf::from_bytes(file) {
            for (_, info) in gguf.tensors() {
                prop_assert_eq!(gguf.data(info).len(), info.bytes);
                prop_assert_eq!(info.block_type.bytes_of(info.elements() as usize), info.bytes);
            }
        }
    }
}

#[test]
fn a_directory_is_no_model() {
    let Err(error) = Gguf::open(&std::env::temp_dir()) else { panic!("a directory is no model") };
    assert!(error.to_string().ends_with("is a directory or a device; give the path of a .gguf file"), "{error}");
}
