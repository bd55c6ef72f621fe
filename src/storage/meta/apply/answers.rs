//! Changes that other hosts forwarded: each is made once, however often it arrives.
//!
//! The answer to each is remembered under its origin. If there are too many answers, those with the least `since` are
//! forgotten. From then on, a change with such a `since` that is not among the answers is refused, because it may be a
//! copy of a forgotten one. Which answers are forgotten depends on the order of the commands only, so that it is the
//! same on every replica.

use super::Applying;
use crate::limits::{ANSWERS_FORGOTTEN_AT_ONCE, ANSWERS_MAX};
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::command::{AnswerRow, Change, Origin, Refusal, Reply};
use crate::storage::meta::record::AnswersRecord;
use crate::storage::meta::tables::{ANSWERS, SYSTEM, SYSTEM_ANSWERS, answer_key};

impl Applying<'_> {
    pub(super) fn change_once(&mut self, origin: Origin, change: Change) -> KvResult<Reply> {
        let key = answer_key(origin);
        if let Some(answered) = self.rows.row::<AnswerRow>(ANSWERS, &key)? {
            return Ok(answered.reply);
        }
        let mut answers = match self.answers {
            Some(answers) => answers,
            None => self.rows.row(SYSTEM, SYSTEM_ANSWERS)?.unwrap_or_default(),
        };
        if origin.since < answers.complete_from {
            return Ok(Reply::Refused(Refusal::Forgotten));
        }
        let reply = self.change(change)?;
        let row = AnswerRow { reply };
        self.rows.put_row(ANSWERS, &key, &row);
        answers.count += 1;
        if answers.count > ANSWERS_MAX {
            self.forget_some(&mut answers)?;
        }
        self.answers = Some(answers);
        Ok(row.reply)
    }

    fn forget_some(&mut self, answers: &mut AnswersRecord) -> KvResult<()> {
        // No row has a lesser `since`: answers are forgotten in this order, and no later change has a lesser one. So
        // the rows that were removed before are not stepped over.
        let from = answers.complete_from.saturating_sub(1).to_be_bytes();
        for (key, _) in self.rows.first_from(ANSWERS, &[], &from, ANSWERS_FORGOTTEN_AT_ONCE)? {
            let malformed = || KvError::new("read an answer's key", format!("malformed: {key:02x?}"));
            let (since, _) = key.split_first_chunk::<8>().ok_or_else(malformed)?;
            answers.complete_from = answers.complete_from.max(u64::from_be_bytes(*since).saturating_add(1));
            answers.count -= 1;
            self.rows.remove(ANSWERS, &key);
        }
        Ok(())
    }
}
