//! Questions composed from the alphabet in `spelled` by the bytes of a fuzzer's input: each byte is a choice.

use super::reference::{Keys, Plain};
use super::spelled::{
    ACTION_PATTERNS, ACTIONS, AGENTS, ASKERS, GRANTEES, PERMISSIONS, PRINCIPALS, RESOURCE_PATTERNS, asker, resource_of,
};
use super::world::{MAIN, OTHER};
use serde_json::{Value, json};

/// A sequence of choices, one for each byte. After the last byte the first alternative is chosen.
struct Picks<'a> {
    rest: &'a [u8],
}

impl Picks<'_> {
    fn number(&mut self, below: usize) -> usize {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        usize::from(*first) % below
    }

    fn flag(&mut self) -> bool {
        self.number(2) == 1
    }

    fn text(&mut self, from: &[&str]) -> String {
        from[self.number(from.len())].to_owned()
    }

    fn texts(&mut self, from: &[&str], least: usize, most: usize) -> Vec<String> {
        (0..least + self.number(most - least + 1)).map(|_| self.text(from)).collect()
    }

    fn condition(&mut self) -> Value {
        match self.number(8) {
            0..=2 => json!({}),
            3 => json!({"NumericLessThan": {"s3:TlsVersion": self.number(4).to_string()}}),
            4 => json!({"Null": {"aws:UserAgent": self.flag().to_string()}}),
            5 => json!({"BoolIfExists": {"aws:SecureTransport": self.flag()}}),
            _ => {
                let set = self.text(&["", "ForAllValues:", "ForAnyValue:"]);
                let operator = self.text(&["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"]);
                let end = self.text(&["", "IfExists"]);
                json!({format!("{set}{operator}{end}"): {"aws:UserAgent": self.texts(&["a", "ab", "a*", "?"], 1, 2)}})
            }
        }
    }

    /// Returns a statement without principals.
    fn statement(&mut self) -> Value {
        let action = if self.number(4) == 3 { "NotAction" } else { "Action" };
        let resource = if self.number(3) == 2 { "NotResource" } else { "Resource" };
        let effect = if self.flag() { "Deny" } else { "Allow" };
        let (actions, resources) = (self.texts(&ACTION_PATTERNS, 1, 2), self.texts(&RESOURCE_PATTERNS, 1, 2));
        json!({"Effect": effect, action: actions, resource: resources, "Condition": self.condition()})
    }

    fn identity_policy(&mut self) -> Value {
        let statements: Vec<Value> = (0..=self.number(2)).map(|_| self.statement()).collect();
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    fn maybe_identity_policy(&mut self) -> Option<Value> {
        (self.number(3) == 2).then(|| self.identity_policy())
    }

    fn bucket_policy(&mut self) -> Value {
        let statements: Vec<Value> = (0..=self.number(3)).map(|_| self.bucket_statement()).collect();
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    fn bucket_statement(&mut self) -> Value {
        let mut statement = self.statement();
        // The policy names the bucket and its objects, so that every action applies to a resource.
        if let Some(resources) = statement.get_mut("Resource").and_then(Value::as_array_mut) {
            resources.push(json!("arn:aws:s3:::b*"));
        }
        let negated = self.flag() && statement["Effect"] == "Deny";
        let name = if negated { "NotPrincipal" } else { "Principal" };
        statement[name] = json!({"AWS": self.texts(&PRINCIPALS, 1, 3)});
        statement
    }

    fn grants(&mut self) -> Vec<(String, String)> {
        (0..self.number(3)).map(|_| (self.text(&GRANTEES), self.text(&PERMISSIONS))).collect()
    }

    fn keys(&mut self) -> Keys {
        let mut keys = Keys::new();
        let agents = self.texts(&AGENTS, 0, 2);
        if !agents.is_empty() {
            keys.insert("aws:useragent".to_owned(), agents);
        }
        if self.flag() {
            keys.insert("s3:tlsversion".to_owned(), vec![self.number(4).to_string()]);
        }
        if self.flag() {
            keys.insert("aws:securetransport".to_owned(), vec![self.flag().to_string()]);
        }
        keys
    }
}

/// Returns the name of the caller, and the question.
pub fn question(bytes: &[u8]) -> (String, Plain) {
    let mut picks = Picks { rest: bytes };
    let (name, action, key) = (picks.text(&ASKERS), picks.text(&ACTIONS), picks.text(&["a", "b", "ab"]));
    let acls_disabled = picks.flag();
    let foreign = picks.flag() && !acls_disabled;
    let ignore_public_acls = picks.flag();
    let keys = picks.keys();
    let own = (0..picks.number(3)).map(|_| picks.identity_policy()).collect();
    let boundary = picks.maybe_identity_policy();
    let session = picks.flag().then(|| picks.maybe_identity_policy().into_iter().collect());
    let bucket_policy = picks.flag().then(|| picks.bucket_policy());
    let plain = Plain {
        asker: asker(&name),
        resource: resource_of(&action, &key),
        action,
        keys,
        own,
        boundary,
        session,
        owner_account: MAIN.0.to_owned(),
        owner_canonical: MAIN.1.to_owned(),
        bucket_policy,
        acls_disabled,
        bucket_acl: picks.grants(),
        object_owner: if foreign { OTHER.1 } else { MAIN.1 }.to_owned(),
        object_acl: picks.grants(),
        ignore_public_acls,
    };
    (name, plain)
}
