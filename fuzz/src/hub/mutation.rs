//! Changes of scripts, by lines.

/// Lines that a script may get. Numbers in them are changed too.
const LINES: &[&str] = &[
    "connect Ann",
    "connect Bob",
    "connect Eve 300",
    "arrive Bob 5000",
    "accept 1 Bob",
    "accept 0 Ann admin 90",
    "refuse 1 no",
    "send 0 {\"type\":\"create_session\"}",
    "send 0 {\"type\":\"create_session\",\"title\":\"Tea\",\"system\":\"Be kind\"}",
    "send 1 {\"type\":\"join_session\",\"session_id\":\"<<s0>>\"}",
    "send 1 {\"type\":\"join_session\",\"session_id\":\"<<s0>>\",\"since\":{\"epoch\":\"<<e>>\",\"seq\":1}}",
    "send 1 {\"type\":\"join_session\",\"session_id\":\"<<s0>>\",\"since\":{\"epoch\":\"<<e>>\",\"seq\":1,\"message_id\":\"<<a>>\",\"offset\":3}}",
    "send 0 {\"type\":\"leave_session\"}",
    "send 0 {\"type\":\"chat_message\",\"message\":\"Hello\"}",
    "send 0 {\"type\":\"chat_message\",\"message\":\"Hello\",\"client_id\":\"c1\"}",
    "send 0 {\"type\":\"chat_message\",\"message\":\"Hello\",\"parent\":\"<<m0>>\"}",
    "send 0 {\"type\":\"chat_message\",\"message\":\"<<long *200>>\"}",
    "send 0 {\"type\":\"chat_message\",\"message\":\"/stat\"}",
    "send 0 {\"type\":\"chat_message\",\"message\":\"/sessions\"}",
    "send 0 {\"type\":\"chat_message\",\"message\":\"/clear\"}",
    "send 0 {\"type\":\"stop_generation\"}",
    "send 0 {\"type\":\"regenerate\"}",
    "send 0 {\"type\":\"regenerate\",\"message_id\":\"<<m1>>\"}",
    "send 0 {\"type\":\"edit_message\",\"message_id\":\"<<m0>>\",\"message\":\"Instead\"}",
    "send 0 {\"type\":\"typing\",\"is_typing\":true}",
    "send 0 {\"type\":\"typing\",\"is_typing\":false}",
    "send 0 {\"type\":\"invite\",\"username\":\"Bob\"}",
    "send 0 {\"type\":\"rename_session\",\"title\":\"Cake\"}",
    "send 0 {\"type\":\"rename_session\",\"title\":\"Cake\",\"session_id\":\"<<s0>>\"}",
    "send 0 {\"type\":\"delete_session\",\"session_id\":\"<<s0>>\"}",
    "send 0 {\"type\":\"list_sessions\"}",
    "send 0 {\"type\":\"history\"}",
    "send 0 {\"type\":\"history\",\"before\":3,\"limit\":2}",
    "send 0 {\"type\":\"ping\"}",
    "send 0 {\"type\":\"authenticate\",\"token\":\"t\"}",
    "grant 2 300",
    "grant 1 1",
    "close 0",
    "violate 0 binary",
    "violate 0 big",
    "resume 0",
    "resume 1 2",
    "resume 0 1 3",
    "storage held",
    "storage prompt",
    "stored 1",
    "stored 2",
    "fail 1",
    "fail 0 1",
    "text 0 Hello",
    "text 0 ä",
    "text 1 <<ab*300>>",
    "notice 0 2",
    "end 0 stop",
    "end 1 length",
    "end 0 error",
    "break 0 internal",
    "break 0 long",
    "up other",
    "down gone",
    "pass 6000",
    "pass 50",
    "pass 30000",
    "drain 4000",
    "together",
    "apart",
];

/// Numbers that are worth a try.
const NUMBERS: [&str; 12] = ["0", "1", "2", "3", "5", "10", "33", "64", "120", "1000", "16400", "70000"];

/// Changes at most so many lines at once.
const EDITS: u64 = 4;

/// Changes the script that the first `size` bytes of `data` are, to one of at most `max_size` bytes, and says how many it
/// has. Now and then it is changed by `bytes`, the fuzzer's own way: of the data, how much is used, and how much may be.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    bytes: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut random = Random(u64::from(seed) | 1 << 40);
    if random.below(5) == 0 {
        return bytes(data, size, max_size);
    }
    let text = String::from_utf8_lossy(&data[..size]).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    for _ in 0..=random.below(EDITS) {
        edit(&mut lines, &mut random);
    }
    let mut written = 0;
    for line in lines {
        let end = written + line.len() + 1;
        if end > max_size.min(data.len()) {
            break;
        }
        data[written..end - 1].copy_from_slice(line.as_bytes());
        data[end - 1] = b'\n';
        written = end;
    }
    written
}

fn edit(lines: &mut Vec<String>, random: &mut Random) {
    let at = random.index(lines.len() + 1);
    match random.below(8) {
        0 if at < lines.len() => {
            lines.remove(at);
        }
        1 if at < lines.len() => {
            let line = lines[at].clone();
            lines.insert(random.index(lines.len() + 1), line);
        }
        2 if at < lines.len() => {
            let line = lines.remove(at);
            lines.insert(random.index(lines.len() + 1), line);
        }
        3 | 4 if at < lines.len() => lines[at] = with_another_number(&lines[at], random),
        _ => {
            let line = LINES[random.index(LINES.len())];
            let line = if random.below(2) == 0 { line.to_string() } else { with_another_number(line, random) };
            lines.insert(at, line);
        }
    }
}

/// The same line with one of its numbers changed, if it has any.
fn with_another_number(line: &str, random: &mut Random) -> String {
    let is_digit = |c: char| c.is_ascii_digit();
    let digits = line.char_indices().filter(|&(_, c)| is_digit(c)).map(|(i, _)| i);
    let starts: Vec<usize> = digits.filter(|&i| !line[..i].ends_with(is_digit)).collect();
    if starts.is_empty() {
        return line.to_string();
    }
    let start = starts[random.index(starts.len())];
    let end = line[start..].find(|c| !is_digit(c)).map_or(line.len(), |length| start + length);
    format!("{}{}{}", &line[..start], NUMBERS[random.index(NUMBERS.len())], &line[end..])
}

/// xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled"), good enough here.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, length: usize) -> usize {
        self.below(length.max(1) as u64) as usize
    }
}
