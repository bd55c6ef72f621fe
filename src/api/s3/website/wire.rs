//! Conversion of a website between the stored form and XML.

use super::site::{Condition, NewKey, Redirect, RoutingRule, Scheme, Site, SiteError, Website};
use s3s::dto;

pub fn from_dto(given: dto::WebsiteConfiguration) -> Result<Website, SiteError> {
    if let Some(all) = given.redirect_all_requests_to {
        if given.index_document.is_some() || given.error_document.is_some() || given.routing_rules.is_some() {
            return Err(SiteError::Malformed("there is more than RedirectAllRequestsTo"));
        }
        return Website::redirect_all(all.host_name, scheme(all.protocol.as_ref())?);
    }
    let index = given.index_document.ok_or(SiteError::NoIndex)?;
    let routing = given.routing_rules.map(|rules| rules.into_iter().map(rule_from_dto).collect::<Result<_, _>>());
    let site = Site::new(index.suffix, given.error_document.map(|document| document.key), routing.transpose()?)?;
    Ok(Website::Site(site))
}

fn rule_from_dto(given: dto::RoutingRule) -> Result<RoutingRule, SiteError> {
    let to = given.redirect;
    let key = NewKey::new(to.replace_key_with, to.replace_key_prefix_with)?;
    let redirect = Redirect::new(to.host_name, scheme(to.protocol.as_ref())?, to.http_redirect_code.as_deref(), key)?;
    let condition = given.condition.map(|condition| {
        Condition::new(condition.key_prefix_equals, condition.http_error_code_returned_equals.as_deref())
    });
    Ok(RoutingRule { condition: condition.transpose()?, redirect })
}

fn scheme(given: Option<&dto::Protocol>) -> Result<Option<Scheme>, SiteError> {
    given.map(|given| Scheme::parse(given.as_str())).transpose()
}

pub fn to_dto(website: Website) -> dto::GetBucketWebsiteOutput {
    match website {
        Website::RedirectAll { host, scheme } => dto::GetBucketWebsiteOutput {
            redirect_all_requests_to: Some(dto::RedirectAllRequestsTo {
                host_name: host,
                protocol: scheme.map(protocol),
            }),
            ..Default::default()
        },
        Website::Site(site) => dto::GetBucketWebsiteOutput {
            error_document: site.error_key.map(|key| dto::ErrorDocument { key }),
            index_document: Some(dto::IndexDocument { suffix: site.index_suffix }),
            redirect_all_requests_to: None,
            routing_rules: (!site.routing.is_empty()).then(|| site.routing.into_iter().map(rule_to_dto).collect()),
        },
    }
}

fn rule_to_dto(rule: RoutingRule) -> dto::RoutingRule {
    let (whole, prefix) = match rule.redirect.key {
        None => (None, None),
        Some(NewKey::Whole(key)) => (Some(key), None),
        Some(NewKey::Prefix(prefix)) => (None, Some(prefix)),
    };
    dto::RoutingRule {
        condition: rule.condition.map(|condition| dto::Condition {
            http_error_code_returned_equals: condition.error_status.map(|status| status.to_string()),
            key_prefix_equals: condition.key_prefix,
        }),
        redirect: dto::Redirect {
            host_name: rule.redirect.host,
            http_redirect_code: rule.redirect.status.map(|status| status.to_string()),
            protocol: rule.redirect.scheme.map(protocol),
            replace_key_prefix_with: prefix,
            replace_key_with: whole,
        },
    }
}

fn protocol(scheme: Scheme) -> dto::Protocol {
    dto::Protocol::from_static(scheme.text())
}
