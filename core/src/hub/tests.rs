use super::*;

fn hub() -> Hub {
    Hub::new(Options { seed: [1; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() })
}

#[test]
fn names_of_requests_begin_anew_past_those_that_are_open() {
    let mut hub = hub();
    let purpose = || Purpose::LoadSession { session: Key { index: 0, generation: 0 } };
    let first = hub.request(purpose());
    assert_eq!(first, RequestId(1));
    hub.last_request = u64::MAX - 1;
    let names: Vec<RequestId> = (0..3).map(|_| hub.request(purpose())).collect();
    assert_eq!(names, [RequestId(u64::MAX), RequestId(0), RequestId(2)], "1 is still open");
    assert_eq!(hub.requests.len(), 4);
}

#[test]
fn names_of_generations_begin_anew_past_those_that_run() {
    let mut hub = hub();
    let session = Key { index: 0, generation: 0 };
    assert_eq!(hub.generation(session), GenerationId(1));
    hub.last_generation = u64::MAX;
    assert_eq!((hub.generation(session), hub.generation(session)), (GenerationId(0), GenerationId(2)));
}
