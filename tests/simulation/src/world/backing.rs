//! What stands behind the server: storage and the model, each in its own time.

use causerie_core::{GenerationId, GenerationNotice, Input, RequestId, Timings, Usage};

use super::{Event, World};
use crate::model::Said;
use crate::report::judge;
use crate::storage::{Answer, Request, What};

impl World {
    pub(super) fn ask_storage(&mut self, request: Request) {
        let mean = self.settings.storage_latency * if self.storage_slow && !self.calm { 200 } else { 1 };
        self.storage_free = self.storage_free.max(self.now) + self.rng.wait(mean);
        let life = self.life;
        self.storage.queue.push_back(request);
        self.at(self.storage_free, Event::StorageTurn { life });
    }

    pub(super) fn storage_turn(&mut self) {
        let Some(Request { id, what }) = self.storage.queue.pop_front() else { return };
        let failing = self.storage.failing;
        let fails = failing > 0 && self.rng.one_in(failing);
        let answer = match (what.is_write(), fails) {
            (true, true) => Answer::StoreFailed,
            (false, true) => Answer::LoadFailed,
            (false, false) => Answer::Loaded(self.storage.read(&what)),
            (true, false) => {
                self.commit(what);
                Answer::Stored
            }
        };
        if fails {
            self.report.fault("storage requests that failed");
        }
        let life = self.life;
        self.after(500, Event::StorageAnswers { life, request: id, answer });
    }

    pub(super) fn commit(&mut self, what: What) {
        if let What::Message(record) = &what {
            judge(self.reference.committed(record));
            self.report.messages += 1;
            if record.author.is_none() {
                self.report.answers += 1;
                self.model.stored(record.session, record.parent, &record.content);
            }
        }
        self.storage.write(what);
    }

    pub(super) fn storage_answers(&mut self, request: RequestId, answer: Answer) {
        self.give(match answer {
            Answer::Stored => Input::Stored { request },
            Answer::StoreFailed => Input::StoreFailed { request },
            Answer::Loaded(data) => Input::Loaded { request, data },
            Answer::LoadFailed => Input::LoadFailed { request },
        });
    }

    /// Answers begin where there are slots.
    pub(super) fn next_answers(&mut self) {
        // Where people rest, what has piled up is worked off.
        let slots = if self.calm { usize::MAX } else { self.settings.slots };
        while self.model.running.len() - self.model.waiting.len() < slots
            && let Some(generation) = self.model.waiting.pop_front()
        {
            let life = self.life;
            self.after(self.settings.token * 4, Event::ModelSays { life, generation });
        }
    }

    pub(super) fn model_says(&mut self, generation: GenerationId) {
        let life = self.life;
        let (usage, timings) = (Usage::default(), Timings::default());
        match self.model.step(generation, &mut self.rng) {
            None => return,
            Some(Said::Text(text)) => {
                if self.rng.one_in(200) {
                    let notice = GenerationNotice::ContextTrimmed { messages: 3 };
                    self.give(Input::GenerationNotice { generation, notice });
                }
                self.give(Input::Token { generation, text: &text });
                return self.after(self.settings.token, Event::ModelSays { life, generation });
            }
            Some(Said::End(reason)) => self.give(Input::Generated { generation, reason, usage, timings }),
            Some(Said::Failed(failure)) => {
                self.report.fault("answers that failed");
                self.give(Input::GenerationFailed { generation, failure });
            }
        }
        self.next_answers();
    }
}
