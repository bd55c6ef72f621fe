//! The signature of a form's policy, of version 4 or 2. The base64 text of the policy is signed, so the signature is
//! verified before the policy is parsed.

use super::form::Form;
use crate::api::auth::{read_scope, signed_texts};
use crate::api::errors::FormFault;
use crate::sigv4::{Credential, Scope, SigningKey, read_stamp};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "s3";
const VERSION_4: [&str; 4] = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature"];
const VERSION_2: [&str; 2] = ["AWSAccessKeyId", "Signature"];
const POLICY: &str = "Policy";

/// The signature that a form states, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub access_key: &'a str,
    policy: &'a str,
    signature: &'a str,
    version: Version<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version<'a> {
    Two,
    Four { date: &'a str, region: &'a str },
}

/// Reads the signature of a form; returns `None` for an anonymous form. A signature with a missing field is refused.
pub fn claim(form: &Form) -> Result<Option<Claim<'_>>, FormFault> {
    let has = |names: &[&str]| names.iter().any(|name| form.get(name).is_some());
    let required = |name: &'static str| form.get(name).ok_or_else(|| FormFault::missing(name));
    if has(&VERSION_4) {
        let [algorithm, credential, date, signature] = VERSION_4;
        check_algorithm(required(algorithm)?)?;
        let scope = read_scope(required(credential)?).map_err(FormFault::Argument)?;
        check_date(required(date)?)?;
        let Credential { access_key, date, region, .. } = scope;
        let (signature, policy) = (required(signature)?, required(POLICY)?);
        return Ok(Some(Claim { access_key, policy, signature, version: Version::Four { date, region } }));
    }
    if has(&VERSION_2) {
        let [access_key, signature] = VERSION_2;
        let (access_key, signature, policy) = (required(access_key)?, required(signature)?, required(POLICY)?);
        return Ok(Some(Claim { access_key, policy, signature, version: Version::Two }));
    }
    Ok(None)
}

impl Claim<'_> {
    pub fn is_version_2(&self) -> bool {
        self.version == Version::Two
    }

    /// Returns the elements that the error of a wrong signature has.
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let claimed = [("AWSAccessKeyId", self.access_key), ("SignatureProvided", self.signature)];
        let claimed = claimed.into_iter().map(|(name, text)| (name, text.to_owned()));
        claimed.chain(signed_texts(self.policy, None)).collect()
    }

    /// Verifies the signature with this secret key.
    pub fn verify(&self, secret_key: &str) -> Result<(), FormFault> {
        let expected = match self.version {
            Version::Four { date, region } => {
                SigningKey::derive(secret_key, Scope { date, region, service: SERVICE }).sign(self.policy)
            }
            Version::Two => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret_key.as_bytes());
                base64_simd::STANDARD.encode_to_string(hmac::sign(&key, self.policy.as_bytes()))
            }
        };
        verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes()).map_err(|_| FormFault::SignatureDiffers)
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), FormFault> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    Err(FormFault::Argument(format!("Only {ALGORITHM} is supported")))
}

/// Checks that a date is well-formed, as `20150830T123600Z`. Its age does not matter: a form is valid until its policy
/// expires.
fn check_date(text: &str) -> Result<(), FormFault> {
    let well_formed = read_stamp(text).map(|_| ());
    well_formed.ok_or_else(|| FormFault::Argument("X-Amz-Date must be formated via ISO8601 Long format".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::claim;
    use crate::api::errors::FormFault;
    use crate::api::post::form::Form;

    /// The secret of the examples that AWS publishes.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request";
    const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
    const SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";

    fn form(fields: &[(&str, &str)]) -> Form {
        let mut form = Form::default();
        fields.iter().for_each(|(name, value)| form.add(name, value));
        form
    }

    const VERSION_4: [(&str, &str); 5] = [
        ("Policy", POLICY),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", CREDENTIAL),
        ("X-Amz-Date", "20151229T000000Z"),
        ("X-AMZ-SIGNATURE", SIGNATURE),
    ];

    fn with(name: &str, value: Option<&str>) -> Result<(), FormFault> {
        let others = VERSION_4.iter().copied().filter(|(field, _)| !field.eq_ignore_ascii_case(name));
        let form = form(&others.chain(value.map(|value| (name, value))).collect::<Vec<_>>());
        claim(&form)?.expect("a claim").verify(SECRET)
    }

    #[test]
    fn the_form_signature_of_awss_example_is_verified() {
        let form = form(&VERSION_4);
        let claim = claim(&form).expect("well-formed").expect("a claim");
        assert_eq!((claim.access_key, claim.is_version_2()), ("AKIAIOSFODNN7EXAMPLE", false));
        assert_eq!(claim.verify(SECRET), Ok(()));
        assert_eq!(claim.verify("another"), Err(FormFault::SignatureDiffers));
        // A shortened policy, and another scope.
        assert_eq!(with("policy", Some(&POLICY[..POLICY.len() - 2])), Err(FormFault::SignatureDiffers));
        let elsewhere = CREDENTIAL.replace("us-east-1", "eu-west-1");
        assert_eq!(with("x-amz-credential", Some(&elsewhere)), Err(FormFault::SignatureDiffers));
        assert_eq!(with("x-amz-signature", Some("")), Err(FormFault::SignatureDiffers));
    }

    #[test]
    fn a_form_signature_of_version_2_is_verified() {
        // HMAC-SHA1 of the policy under the example's key, in base64.
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDA3LTEyLTAxVDEyOjAwOjAwLjAwMFoiLAogICJjb25kaXRpb25zIjogWwogICAgeyJidWNrZXQiOiAiam9obnNtaXRoIn0KICBdCn0=";
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
        let signature = base64_simd::STANDARD.encode_to_string(aws_lc_rs::hmac::sign(&key, policy.as_bytes()));
        let form = form(&[("awsaccesskeyid", "AK"), ("signature", &signature), ("policy", policy)]);
        let claim = claim(&form).expect("well-formed").expect("a claim");
        assert_eq!((claim.access_key, claim.is_version_2()), ("AK", true));
        assert_eq!((claim.verify(SECRET), claim.verify("another")), (Ok(()), Err(FormFault::SignatureDiffers)));
    }

    #[test]
    fn a_form_signature_with_a_missing_field_is_refused() {
        assert_eq!(claim(&form(&[("key", "k")])), Ok(None));
        assert_eq!(claim(&form(&[("key", "k"), ("policy", POLICY)])), Ok(None));
        for name in ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "Policy"] {
            assert_eq!(with(name, None), Err(FormFault::missing(name)));
        }
        for (given, missing) in [("AWSAccessKeyId", "Signature"), ("Signature", "AWSAccessKeyId")] {
            assert_eq!(claim(&form(&[(given, "g"), ("policy", POLICY)])), Err(FormFault::missing(missing)));
        }
    }

    #[test]
    fn a_malformed_credential_date_or_algorithm_of_a_form_is_refused() {
        for credential in [
            "HAHAHA",
            "/20151229/us-east-1/s3/aws4_request",
            "AK/2015/us-east-1/s3/aws4_request",
            "AK/20151229/us-east-1/sts/aws4_request",
            "AK/20151229/us-east-1/s3/aws5_request",
        ] {
            assert!(matches!(with("X-Amz-Credential", Some(credential)), Err(FormFault::Argument(_))), "{credential}");
        }
        for date in ["", "2015-12-29", "20151229T00000aZ", "Tue, 29 Dec 2015 00:00:00 GMT"] {
            assert!(matches!(with("X-Amz-Date", Some(date)), Err(FormFault::Argument(_))), "{date}");
        }
        assert!(matches!(with("X-Amz-Algorithm", Some("AWS5")), Err(FormFault::Argument(_))));
    }
}
