//! Websites as S3 documents them: which configurations are refused, where requests lead, and what error pages show. The
//! routing rules are the user guide's examples.

use super::wire::{from_dto, to_dto};
use super::{
    ErrorResponse, Failure, Redirection, Site, Step, Website, WebsiteRequest, error_headers, error_page, fault_of,
};
use crate::api::errors::{ArgumentFault, Fault, Text};
use http::StatusCode;
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer};

fn read(inside: &str) -> dto::WebsiteConfiguration {
    let xml = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
    dto::WebsiteConfiguration::deserialize(&mut Deserializer::new(xml.as_bytes())).expect("XML")
}

fn parse(inside: &str) -> Result<Website, Fault> {
    from_dto(read(inside)).map_err(fault_of)
}

const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";
const ERROR: &str = "<ErrorDocument><Key>error.html</Key></ErrorDocument>";

fn with_rule(rule: &str) -> String {
    format!("{INDEX}<RoutingRules><RoutingRule>{rule}</RoutingRule></RoutingRules>")
}

fn site(inside: &str) -> Site {
    match parse(inside).expect("a website that S3 takes") {
        Website::Site(site) => site,
        Website::RedirectAll { .. } => panic!("a site"),
    }
}

fn request_of(key: &str) -> WebsiteRequest<'_> {
    WebsiteRequest { scheme: "http", host: "b.site:8080", key, query: None }
}

fn moved(location: &str) -> Redirection {
    Redirection { status: StatusCode::MOVED_PERMANENTLY, location: location.to_owned() }
}

fn to(location: &str) -> Step {
    Step::Redirect(moved(location))
}

fn serve(key: &str) -> Step {
    Step::Serve(key.to_owned())
}

fn argument(name: &'static str, text: &'static str) -> Result<Website, Fault> {
    Err(ArgumentFault::bare(name, text).into())
}

fn invalid(text: &str) -> Result<Website, Fault> {
    Err(Fault::InvalidRequest(text.to_owned()))
}

#[test]
fn a_website_configuration_reads_back_as_given() {
    let rule = "<Condition><KeyPrefixEquals>docs/</KeyPrefixEquals>\
        <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
        <Redirect><Protocol>https</Protocol><HostName>example.com</HostName><HttpRedirectCode>302</HttpRedirectCode>\
        <ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith></Redirect>";
    for inside in [
        INDEX.to_owned(),
        format!("{INDEX}{ERROR}"),
        with_rule(rule),
        with_rule("<Redirect><ReplaceKeyWith>a.html</ReplaceKeyWith></Redirect>"),
        "<RedirectAllRequestsTo><HostName>example.com</HostName></RedirectAllRequestsTo>".to_owned(),
        "<RedirectAllRequestsTo><HostName>example.com</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>"
            .to_owned(),
    ] {
        let stored = serde_json::to_string(&parse(&inside).expect("a website that S3 takes")).expect("JSON");
        let back = to_dto(serde_json::from_str(&stored).expect("it reads back"));
        let given = read(&inside);
        assert_eq!(back.index_document, given.index_document);
        assert_eq!(back.error_document, given.error_document);
        assert_eq!(back.redirect_all_requests_to, given.redirect_all_requests_to);
        assert_eq!(back.routing_rules, given.routing_rules);
    }
}

#[test]
fn a_website_has_an_index_or_redirects_all() {
    let no_index = || {
        let why = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty";
        Err(ArgumentFault::with_value("IndexDocument", Text::Own("null".to_owned()), why).into())
    };
    assert_eq!(parse(""), no_index());
    assert_eq!(parse(ERROR), no_index());
    let all = "<RedirectAllRequestsTo><HostName>example.com</HostName></RedirectAllRequestsTo>";
    assert_eq!(parse(&format!("{all}{INDEX}")), Err(Fault::MalformedXml));
    assert_eq!(parse(&format!("{all}{ERROR}")), Err(Fault::MalformedXml));
    assert_eq!(
        parse("<RedirectAllRequestsTo><HostName></HostName></RedirectAllRequestsTo>"),
        invalid("A host name must be provided to redirect all requests (e.g. \"example.com\").")
    );
}

#[test]
fn malformed_index_suffixes_and_empty_error_keys_are_refused() {
    for suffix in ["", "a/index.html", "/"] {
        let inside = format!("<IndexDocument><Suffix>{suffix}</Suffix></IndexDocument>");
        assert_eq!(
            parse(&inside),
            argument("IndexDocument", "The IndexDocument Suffix is not well formed"),
            "{suffix}"
        );
    }
    let keyless = format!("{INDEX}<ErrorDocument><Key></Key></ErrorDocument>");
    assert_eq!(parse(&keyless), argument("ErrorDocument", "The ErrorDocument Key is not well formed"));
}

#[test]
fn the_protocol_of_a_website_redirect_is_http_or_https() {
    let text =
        "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.";
    assert_eq!(parse(&with_rule("<Redirect><Protocol>http2</Protocol></Redirect>")), invalid(text));
    let all = "<RedirectAllRequestsTo><HostName>a</HostName><Protocol>HTTP</Protocol></RedirectAllRequestsTo>";
    assert_eq!(parse(all), invalid(text));
}

#[test]
fn invalid_status_codes_in_routing_rules_are_refused() {
    let redirect =
        |code: &str| parse(&with_rule(&format!("<Redirect><HttpRedirectCode>{code}</HttpRedirectCode></Redirect>")));
    for code in ["301", "302", "303", "304", "305", "307", "308"] {
        assert!(redirect(code).is_ok(), "{code}");
    }
    for code in ["300", "306", "309", "399", "200", "400"] {
        let text = format!("The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300.");
        assert_eq!(redirect(code), invalid(&text));
    }
    assert_eq!(redirect("soon"), Err(Fault::MalformedXml));
    let error = |code: &str| {
        let condition = format!("<HttpErrorCodeReturnedEquals>{code}</HttpErrorCodeReturnedEquals>");
        parse(&with_rule(&format!("<Condition>{condition}</Condition><Redirect><HostName>a</HostName></Redirect>")))
    };
    for code in ["400", "417", "500", "505"] {
        assert!(error(code).is_ok(), "{code}");
    }
    for code in ["302", "399", "418", "499", "506", "600"] {
        let text = format!("The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX.");
        assert_eq!(error(code), invalid(&text));
    }
}

#[test]
fn empty_and_contradictory_routing_rules_are_refused() {
    for nothing in ["<Redirect/>", "<Redirect><HostName></HostName></Redirect>"] {
        assert_eq!(parse(&with_rule(nothing)), Err(Fault::MalformedXml), "{nothing}");
    }
    let keys = "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>";
    assert_eq!(parse(&with_rule(keys)), invalid("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    let unconditional = with_rule("<Condition/><Redirect><ReplaceKeyWith>a</ReplaceKeyWith></Redirect>");
    assert_eq!(parse(&unconditional), Err(Fault::MalformedXml));
}

#[test]
fn a_list_of_routing_rules_has_one_to_fifty_entries() {
    let many = |count: usize| {
        let rules = "<RoutingRule><Redirect><HostName>a</HostName></Redirect></RoutingRule>".repeat(count);
        parse(&format!("{INDEX}<RoutingRules>{rules}</RoutingRules>"))
    };
    assert_eq!(many(0), Err(Fault::MalformedXml));
    assert!(many(50).is_ok());
    assert_eq!(
        many(51),
        invalid("51 routing rules provided, the number of routing rules in a website configuration is limited to 50.")
    );
}

#[test]
fn a_folder_of_a_website_is_served_by_its_index_document() {
    let site = site(INDEX);
    for (key, served) in
        [("", "index.html"), ("photos/", "photos/index.html"), ("a/b/", "a/b/index.html"), ("a.html", "a.html")]
    {
        assert_eq!(site.step(&request_of(key)), serve(served));
    }
}

#[test]
fn a_folder_without_a_trailing_slash_is_redirected_to_one_with_it() {
    let site = site(INDEX);
    assert_eq!(site.folder_index(&request_of("photos")).as_deref(), Some("photos/index.html"));
    assert_eq!(site.folder_index(&request_of("photos/")), None);
    assert_eq!(site.folder_index(&request_of("")), None);
    // Two slashes at the start would name another host.
    assert_eq!(request_of("/evil.com").folder_redirection().location, "/%2Fevil.com/");
    let found = request_of("my photos/é").folder_redirection();
    assert_eq!(found.status, StatusCode::FOUND);
    assert_eq!(found.location, "/my%20photos/%C3%A9/");
    let asking = WebsiteRequest { query: Some("lang=de"), ..request_of("photos") };
    assert_eq!(asking.folder_redirection().location, "/photos/?lang=de");
}

#[test]
fn redirect_all_requests_leads_every_request_to_the_other_host() {
    let all = |protocol: &str| {
        let inside =
            format!("<RedirectAllRequestsTo><HostName>example.com</HostName>{protocol}</RedirectAllRequestsTo>");
        parse(&inside).expect("a website that S3 takes")
    };
    assert_eq!(all("").step(&request_of("")), to("http://example.com/"));
    assert_eq!(all("").step(&request_of("a/b c")), to("http://example.com/a/b%20c"));
    let secure = all("<Protocol>https</Protocol>");
    assert_eq!(secure.step(&request_of("a")), to("https://example.com/a"));
    let asking = WebsiteRequest { query: Some("x=1&y"), ..request_of("a") };
    assert_eq!(secure.step(&asking), to("https://example.com/a?x=1&y"));
    let over_tls = WebsiteRequest { scheme: "https", ..request_of("a") };
    assert_eq!(all("").step(&over_tls), to("https://example.com/a"), "as it was asked");
}

#[test]
fn a_routing_rule_replaces_the_prefix_of_a_key() {
    let rule = |redirect: &str| {
        site(&with_rule(&format!(
            "<Condition><KeyPrefixEquals>docs/</KeyPrefixEquals></Condition><Redirect>{redirect}\
             <ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith></Redirect>"
        )))
    };
    let plain = rule("");
    assert_eq!(plain.step(&request_of("")), serve("index.html"));
    assert_eq!(plain.step(&request_of("x")), serve("x"));
    assert_eq!(plain.step(&request_of("docs/")), to("http://b.site:8080/documents/"));
    assert_eq!(plain.step(&request_of("docs/a b")), to("http://b.site:8080/documents/a%20b"));
    assert_eq!(rule("<Protocol>https</Protocol>").step(&request_of("docs/x")), to("https://b.site:8080/documents/x"));
    let elsewhere = rule("<Protocol>https</Protocol><HostName>xyzzy</HostName>");
    assert_eq!(elsewhere.step(&request_of("docs/x")), to("https://xyzzy/documents/x"));
    let found = rule("<HttpRedirectCode>302</HttpRedirectCode>").step(&request_of("docs/x"));
    assert!(matches!(found, Step::Redirect(Redirection { status: StatusCode::FOUND, .. })));
}

#[test]
fn a_routing_rule_redirects_a_whole_prefix_to_one_page() {
    let site = site(&with_rule(
        "<Condition><KeyPrefixEquals>images/</KeyPrefixEquals></Condition>\
         <Redirect><ReplaceKeyWith>folderdeleted.html</ReplaceKeyWith></Redirect>",
    ));
    for key in ["images/", "images/x"] {
        assert_eq!(site.step(&request_of(key)), to("http://b.site:8080/folderdeleted.html"));
    }
}

#[test]
fn a_routing_rule_for_a_status_redirects_only_after_that_error() {
    let rule = |condition: &str| {
        site(&with_rule(&format!(
            "<Condition>{condition}<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
             <Redirect><HostName>ec2.amazonaws.com</HostName>\
             <ReplaceKeyPrefixWith>report-404/</ReplaceKeyPrefixWith></Redirect>"
        )))
    };
    let any = rule("");
    assert_eq!(any.step(&request_of("images/x")), serve("images/x"), "there is no error yet");
    let moved = |location| ErrorResponse::Redirect(moved(location));
    let missing = StatusCode::NOT_FOUND;
    assert_eq!(any.error_response(&request_of("x"), missing), moved("http://ec2.amazonaws.com/report-404/x"));
    assert_eq!(
        any.error_response(&request_of("images/x"), missing),
        moved("http://ec2.amazonaws.com/report-404/images/x")
    );
    assert_eq!(any.error_response(&request_of("x"), StatusCode::FORBIDDEN), ErrorResponse::Page);
    let both = rule("<KeyPrefixEquals>images/</KeyPrefixEquals>");
    assert_eq!(both.error_response(&request_of("x"), missing), ErrorResponse::Page);
    assert_eq!(both.error_response(&request_of("images/x"), missing), moved("http://ec2.amazonaws.com/report-404/x"));
}

#[test]
fn the_first_routing_rule_that_applies_counts() {
    let rule = |prefix: &str, key: &str| {
        format!(
            "<RoutingRule><Condition><KeyPrefixEquals>{prefix}</KeyPrefixEquals></Condition>\
             <Redirect><ReplaceKeyWith>{key}</ReplaceKeyWith></Redirect></RoutingRule>"
        )
    };
    let rules = [rule("a/b/", "first"), rule("a/", "second")].concat();
    let last = "<RoutingRule><Redirect><HostName>rest</HostName></Redirect></RoutingRule>";
    let site = site(&format!("{INDEX}<RoutingRules>{rules}{last}</RoutingRules>"));
    assert_eq!(site.step(&request_of("a/b/c")), to("http://b.site:8080/first"));
    assert_eq!(site.step(&request_of("a/c")), to("http://b.site:8080/second"));
    assert_eq!(site.step(&request_of("c")), to("http://rest/c"), "a rule without a condition");
    assert_eq!(site.step(&request_of("")), to("http://rest/"));
}

#[test]
fn a_replacement_key_may_have_a_query_or_a_fragment() {
    let rule = |key: &str| {
        site(&with_rule(&format!(
            "<Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
             <Redirect><ReplaceKeyPrefixWith>{key}</ReplaceKeyPrefixWith></Redirect>"
        )))
    };
    let asking = WebsiteRequest { query: Some("v=1"), ..request_of("old/a b") };
    assert_eq!(rule("#!/").step(&asking), to("http://b.site:8080/?v=1#!/a%20b"));
    assert_eq!(rule("resize?key=").step(&asking), to("http://b.site:8080/resize?key=a%20b&v=1"));
    assert_eq!(
        rule("/new/").step(&request_of("old/x")),
        to("http://b.site:8080/new/x"),
        "the path has its slash already"
    );
    assert_eq!(rule("né w/").step(&request_of("old/x")), to("http://b.site:8080/n%C3%A9%20w/x"));
}

#[test]
fn the_location_of_a_redirect_cannot_inject_headers() {
    let site = site(&with_rule("<Redirect><HostName>h</HostName></Redirect>"));
    let hostile = WebsiteRequest { query: Some("a=\r\nSet-Cookie: x"), ..request_of("k\r\nX: y") };
    let Step::Redirect(redirection) = site.step(&hostile) else { panic!("a redirect") };
    assert_eq!(redirection.location, "http://h/k%0D%0AX%3A%20y?a=%0D%0ASet-Cookie:%20x");
    assert_eq!(Redirection::of_object("/a\r\nX: y").location, "/a%0D%0AX:%20y");
}

#[test]
fn an_object_may_redirect_to_a_path_or_a_url() {
    for location in ["/relative", "http://example.com/foo"] {
        assert_eq!(Redirection::of_object(location), moved(location));
    }
}

#[test]
fn client_errors_are_answered_with_the_error_document() {
    let site = site(&format!("{INDEX}{ERROR}"));
    for status in [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED] {
        assert_eq!(site.error_response(&request_of("x"), status), ErrorResponse::Document("error.html".to_owned()));
    }
    assert_eq!(site.error_response(&request_of("x"), StatusCode::SERVICE_UNAVAILABLE), ErrorResponse::Page);
}

#[test]
fn an_error_page_names_the_code_the_message_and_the_request() {
    let failure = Failure {
        code: "NoSuchKey",
        message: "The specified key does not exist.",
        details: &[("Key", "a<script>.html")],
    };
    let page = error_page(StatusCode::NOT_FOUND, &failure, None, "0001", "host");
    assert_eq!(
        page,
        "<html>\n<head><title>404 Not Found</title></head>\n<body>\n<h1>404 Not Found</h1>\n<ul>\n\
         <li>Code: NoSuchKey</li>\n<li>Message: The specified key does not exist.</li>\n\
         <li>Key: a&lt;script&gt;.html</li>\n<li>RequestId: 0001</li>\n<li>HostId: host</li>\n</ul>\n<hr/>\n\
         </body>\n</html>\n"
    );
    let document = Failure { details: &[("Key", "error.html")], ..failure };
    let page = error_page(StatusCode::NOT_FOUND, &failure, Some(&document), "0001", "host");
    assert!(page.contains("<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n<ul>\n"));
    assert!(page.contains("<li>Key: error.html</li>"));
}

#[test]
fn an_error_page_has_the_error_in_its_headers() {
    let failure =
        Failure { code: "NoSuchKey", message: "Not there.", details: &[("Key", "a"), ("Other", "line\nbreak")] };
    let headers = error_headers(&failure);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(header("x-amz-error-code"), Some("NoSuchKey"));
    assert_eq!(header("x-amz-error-message"), Some("Not there."));
    assert_eq!(header("x-amz-error-detail-key"), Some("a"));
    assert_eq!(header("x-amz-error-detail-other"), None, "a value that cannot be in a header is left out");
}
