//! The fields of a form before its file, parsed as the bytes arrive and bounded in size.

use super::multipart::{Event, Multipart};
use crate::api::errors::FormFault;
use crate::limits::FORM_FIELDS_BYTES_MAX;

/// The name of the form's part that is the file.
pub const FILE: &str = "file";
const FILE_NAME_VARIABLE: &str = "${filename}";

/// The fields of a form before its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The fields, in the order of their first occurrence.
    fields: Vec<Field>,
    file_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// The name as it was sent; names are compared without regard to case.
    name: String,
    value: String,
}

impl Form {
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        found.next().map(|field| field.value.as_str())
    }

    /// Returns the names of the fields, as they were sent, and their values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (field.name.as_str(), field.value.as_str()))
    }

    /// Adds a field. Values of fields with the same name are joined with a comma, as S3 does.
    pub fn add(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|field| field.name.eq_ignore_ascii_case(name)) {
            Some(field) => {
                field.value.push(',');
                field.value.push_str(value);
            }
            None => self.fields.push(Field { name: name.to_owned(), value: value.to_owned() }),
        }
    }

    /// Sets the name of the file, and replaces `${filename}` by its last path component in every field, as S3 does
    /// before it interprets any field. If the part has no file name, the variable stays.
    fn begin_file(&mut self, file_name: Option<String>) -> Result<(), FormFault> {
        self.file_name = file_name.map(|path| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
        let Some(file_name) = &self.file_name else { return Ok(()) };
        let uses: usize = self.fields.iter().map(|field| field.value.matches(FILE_NAME_VARIABLE).count()).sum();
        if uses * file_name.len() > FORM_FIELDS_BYTES_MAX {
            return Err(FormFault::FieldsTooLarge);
        }
        for field in &mut self.fields {
            if field.value.contains(FILE_NAME_VARIABLE) {
                field.value = field.value.replace(FILE_NAME_VARIABLE, file_name);
            }
        }
        Ok(())
    }
}

/// The parser of a form up to the head of its file.
pub struct Gathering {
    multipart: Multipart,
    form: Form,
    /// The field whose content is being read.
    current: Option<(String, Vec<u8>)>,
}

impl Gathering {
    pub fn new(boundary: &str) -> Self {
        Self { multipart: Multipart::new(boundary), form: Form::default(), current: None }
    }

    /// Takes bytes of the body. Returns true once the head of the file was read: then call `finish`. Later bytes are
    /// kept for the file.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, FormFault> {
        self.multipart.push(bytes);
        while let Some(event) = self.multipart.next()? {
            match event {
                Event::Part(head) => {
                    self.end_field()?;
                    self.check_size(0)?;
                    if head.name.eq_ignore_ascii_case(FILE) {
                        self.form.begin_file(head.file_name)?;
                        return Ok(true);
                    }
                    self.current = Some((head.name, Vec::new()));
                }
                Event::Content(bytes) => {
                    self.check_size(0)?;
                    if let Some((_, value)) = &mut self.current {
                        value.extend_from_slice(&bytes);
                    }
                }
                Event::End => return Err(FormFault::NotOneFile),
            }
        }
        self.check_size(self.multipart.held_bytes())?;
        Ok(false)
    }

    /// Returns the fields, and the multipart parser, which continues with the file's content.
    pub fn finish(self) -> (Form, Multipart) {
        (self.form, self.multipart)
    }

    fn end_field(&mut self) -> Result<(), FormFault> {
        if let Some((name, value)) = self.current.take() {
            let value = String::from_utf8(value).map_err(|_| FormFault::Malformed)?;
            self.form.add(&name, &value);
        }
        Ok(())
    }

    fn check_size(&self, held_bytes: u64) -> Result<(), FormFault> {
        let fits = self.multipart.consumed_bytes() + held_bytes <= FORM_FIELDS_BYTES_MAX as u64;
        if fits { Ok(()) } else { Err(FormFault::FieldsTooLarge) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Gathering};
    use crate::api::errors::FormFault;
    use crate::api::post::multipart::Event;
    use crate::limits::FORM_FIELDS_BYTES_MAX;

    fn part(disposition: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    }

    fn gather(body: &str) -> Result<Option<Form>, FormFault> {
        let mut gathering = Gathering::new("b");
        let begun = gathering.push(body.as_bytes())?;
        Ok(begun.then(|| gathering.finish().0))
    }

    #[test]
    fn fields_before_the_file_are_found_by_name_in_any_case() {
        let body =
            part("name=KEY", "k") + &part("name=\"Content-Type\"; filename=\"x\"", "a/b") + &part("name=File", "f");
        let form = gather(&body).expect("a form").expect("a file");
        assert_eq!((form.get("key"), form.get("content-type"), form.get("other")), (Some("k"), Some("a/b"), None));
        assert_eq!(form.fields().map(|(name, _)| name).collect::<Vec<_>>(), ["KEY", "Content-Type"]);
    }

    #[test]
    fn the_parser_continues_with_the_content_of_the_file() {
        let mut gathering = Gathering::new("b");
        let body = part("name=key", "k") + "--b\r\ncontent-disposition: form-data; name=file\r\n\r\n";
        assert_eq!(gathering.push(body.as_bytes()), Ok(true));
        let (_, mut multipart) = gathering.finish();
        multipart.push(b"content\r\n--b--");
        assert_eq!(multipart.next(), Ok(Some(Event::Content("content".into()))));
        assert_eq!(multipart.next(), Ok(Some(Event::End)));
    }

    #[test]
    fn the_file_name_replaces_its_variable_in_every_field() {
        let named = |file: &str| {
            let body = part("name=key", "a/${filename}") + &part("name=x-amz-meta-n", "${filename}${filename}");
            gather(&(body + &part(file, "f"))).expect("a form").expect("a file")
        };
        for name in ["f.txt", "/home/me/f.txt", "C:\\Program Files\\f.txt"] {
            let form = named(&format!("name=file; filename=\"{name}\""));
            assert_eq!((form.get("key"), form.get("x-amz-meta-n")), (Some("a/f.txt"), Some("f.txtf.txt")));
        }
        assert_eq!(named("name=file; filename=\"\"").get("key"), Some("a/"));
        assert_eq!(named("name=file").get("key"), Some("a/${filename}"));
    }

    #[test]
    fn fields_are_bounded_after_the_file_name_replaced_its_variables() {
        let uses = |count: usize, length: usize| {
            let body = part("name=key", &"${filename}".repeat(count));
            let file = format!("name=file; filename=\"{}\"", "n".repeat(length));
            gather(&(body + &part(&file, "f"))).map(|form| form.map(|form| form.get("key").map_or(0, str::len)))
        };
        assert_eq!(uses(1000, 20), Ok(Some(20_000)));
        assert_eq!(uses(1000, 8000), Err(FormFault::FieldsTooLarge));
    }

    #[test]
    fn values_of_fields_with_one_name_are_joined_with_commas() {
        let body =
            part("name=x-amz-meta-tag", "Ninja") + &part("name=X-Amz-Meta-Tag", "Stallman") + &part("name=file", "");
        let form = gather(&body).expect("a form").expect("a file");
        assert_eq!(form.get("x-amz-meta-tag"), Some("Ninja,Stallman"));
    }

    #[test]
    fn a_form_without_a_file_or_with_too_large_fields_is_refused() {
        assert_eq!(gather(&(part("name=key", "k") + "--b--\r\n")), Err(FormFault::NotOneFile));
        assert_eq!(gather(&part("name=key", "k")), Ok(None));
        let long = "v".repeat(FORM_FIELDS_BYTES_MAX);
        assert_eq!(gather(&(part("name=key", &long) + &part("name=file", ""))), Err(FormFault::FieldsTooLarge));
        assert_eq!(gather(&part("name=key", &long)), Err(FormFault::FieldsTooLarge));
        // The content of the file does not count.
        assert!(gather(&(part("name=key", "k") + &part("name=file", &long))).is_ok_and(|form| form.is_some()));
        assert_eq!(gather("--b\r\nContent-Disposition: form-data; name=a"), Ok(None));
    }
}
