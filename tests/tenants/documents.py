"""Bodies that are legal in size and long to read: each fills its bound with something else."""

import json

S3_XML = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def filled(head, unit, tail, bytes_max):
    """`unit` repeated between the two as often as there is room; it may be a function of its number."""
    if callable(unit):
        parts, left, number = [], bytes_max - len(head) - len(tail), 0
        while True:
            part = unit(number).encode()
            left -= len(part)
            if left < 0:
                return head.encode() + b"".join(parts) + tail.encode()
            parts.append(part)
            number += 1
    count = (bytes_max - len(head) - len(tail)) // len(unit)
    return (head + unit * count + tail).encode()


def deep(bytes_max):
    count = (bytes_max - 20) // 7
    return ("<a>" * count + "</a>" * count).encode()


def nasty_xml(root, item, bytes_max):
    """(name, body) of XML whose root is this: what any parser of it may be given. `item` is one element of its list."""
    begin, end = f"<{root} {S3_XML}>", f"</{root}>"
    leaf = item.split(">", 1)[0].strip("<") or "a"
    return [
        ("items", filled(begin, item, end, bytes_max)),
        ("empty elements", filled(begin, "<a/>", end, bytes_max)),
        ("empty items", filled(begin, f"<{leaf}></{leaf}>", end, bytes_max)),
        ("depth", begin.encode() + deep(bytes_max - len(begin) - len(end)) + end.encode()),
        ("attributes", filled(f"<{root}", lambda n: f' a{n}=""', f"></{root}>", bytes_max)),
        ("equal attributes", filled(f"<{root}", ' a=""', f"></{root}>", bytes_max)),
        ("namespaces", filled(f"<{root}", lambda n: f' xmlns:n{n}="u"', f"></{root}>", bytes_max)),
        ("references", filled(f"{begin}<{leaf}>", "&#97;", f"</{leaf}>{end}", bytes_max)),
        ("entities", filled(f"{begin}<{leaf}>", "&amp;", f"</{leaf}>{end}", bytes_max)),
        ("comments", filled(begin, "<!---->", end, bytes_max)),
        ("sections", filled(f"{begin}<{leaf}>", "<![CDATA[]]>", f"</{leaf}>{end}", bytes_max)),
        ("instructions", filled(begin, "<?a?>", end, bytes_max)),
        ("text", filled(f"{begin}<{leaf}>", "x", f"</{leaf}>{end}", bytes_max)),
        ("space", filled(begin, "\n", end, bytes_max)),
        ("a type with entities", filled("<!DOCTYPE a [", lambda n: f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">',
                                        f"]>{begin}&e9;{end}", bytes_max)),
        ("never closed", filled(begin, "<a>", "", bytes_max)),
        ("opened only", b"<" * (bytes_max // 16) + b"a" * (bytes_max - bytes_max // 16)),
        ("nothing but opened", b"<" * bytes_max),
    ]


def nasty_json(bytes_max):
    """The same for a policy."""
    def statements(one):
        return filled('{"Version":"2012-10-17","Statement":[', json.dumps(one) + ",", json.dumps(one) + "]}", bytes_max)

    small = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::BUCKET/*"}
    return [
        ("statements", statements(small)),
        ("depth", b"[" * bytes_max),
        ("closed depth", b"[" * (bytes_max // 2) + b"]" * (bytes_max // 2)),
        ("equal members", filled('{"Version":"2012-10-17"', ',"Version":"2012-10-17"', "}", bytes_max)),
        ("members", filled('{"Version":"2012-10-17"', lambda n: f',"m{n}":0', "}", bytes_max)),
        ("escapes", filled('{"Version":"2012-10-17","Id":"', "\\u0061", '","Statement":[]}', bytes_max)),
        ("numbers", filled('{"Version":[', "1e9,", "1]}", bytes_max)),
        ("empty strings", filled('{"Version":"2012-10-17","Statement":[{"Action":[', '"",', '""]}]}', bytes_max)),
        ("space", filled('{"Version":"2012-10-17","Statement":[', " ", "]}", bytes_max)),
    ]


def policy(statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def spread(values, bytes_max, overhead=3):
    """As many of `values`, which repeat, as a document of so many bytes has room for."""
    taken, left, number = [], bytes_max, 0
    while True:
        value = values[number % len(values)]
        left -= len(value) + overhead
        if left < 0:
            return taken
        taken.append(value)
        number += 1


# What takes the longest to compare with a long text of the letter a.
SLOW_PATTERNS = ("*ab*", "*a?b*", "*a*a*a*b", "*?*?*?*?b", "*aaaaaaaaaaaaaaaaaaaa?b*")


def slow_bucket_policy(bucket):
    """20 KiB of what is compared with a long header and a long key, and what allows everything at the end."""
    arn = f"arn:aws:s3:::{bucket}/"
    return policy([
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"{arn}*",
         "Condition": {"StringLike": {"aws:UserAgent": spread(SLOW_PATTERNS, 8_000)}}},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [f"{arn}{'*a?' * 340}b"] * 8 },
        {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"{arn}*"]},
    ])


def slow_identity_policy(bytes_max=6_144):
    """What a user's managed policy can hold of the same."""
    return policy([
        {"Effect": "Deny", "Action": "s3:*", "Resource": f"arn:aws:s3:::*{'*a?' * 300}b"},
        {"Effect": "Deny", "Action": "s3:*", "Resource": "*",
         "Condition": {"StringLike": {"aws:Referer": spread(SLOW_PATTERNS, bytes_max - 1_500)}}},
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
    ])


def wildcards_identity_policy(number, bytes_max=6_144):
    """One that applies to every object, with a condition of many wildcards that is the same for all of them."""
    return policy([
        {"Effect": "Deny", "Action": "*", "Resource": "*",
         "Condition": {"StringNotLike": {"aws:PrincipalTag/x": "?a" * ((bytes_max - 400) // 2) + str(number)},
                       "StringEquals": {"s3:VersionId": "0"}}},
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
    ])


def padded(document, bytes_max):
    """With white space, up to a bound that counts it."""
    return document[:-1] + " " * (bytes_max - len(document)) + document[-1]


def cors(rules=100, bytes_max=64 << 10):
    def rule(number):
        # The preflight fits the last one alone.
        methods = "GET" if number < rules - 1 else "PUT"
        headers = "".join(f"<AllowedHeader>aaaaaaa*b{number}-{n}</AllowedHeader>" for n in range(7))
        origins = f"<AllowedOrigin>https://{'a' * 60}*{'a' * 60}.b{number}</AllowedOrigin>" if number < rules - 1 else \
            "<AllowedOrigin>*</AllowedOrigin>"
        # The one that fits all headers is behind the others.
        any_header = "<AllowedHeader>*</AllowedHeader>" if number == rules - 1 else ""
        return f"<CORSRule>{origins}<AllowedMethod>{methods}</AllowedMethod>{headers}{any_header}</CORSRule>"
    body = "".join(rule(number) for number in range(rules))
    assert len(body) < bytes_max - 100, len(body)
    return f"<CORSConfiguration {S3_XML}>{body}</CORSConfiguration>".encode()


def notification(bytes_max=512 << 10):
    """Two rules for the same keys, of thousands of events each, none of which is the same."""
    def rule(name):
        return f"<QueueConfiguration><Id>{name}</Id><Queue>arn:aws:sqs:us-east-1:111122223333:queue</Queue>"
    created = filled(f"<NotificationConfiguration {S3_XML}>{rule('a')}", "<Event>s3:ObjectCreated:*</Event>",
                     "</QueueConfiguration>", bytes_max // 2)
    return created + filled(rule("b"), "<Event>s3:ObjectRemoved:*</Event>",
                            "</QueueConfiguration></NotificationConfiguration>", bytes_max // 2)


def lifecycle(rules=1_000):
    rule = lambda number: (f"<Rule><ID>r{number}</ID><Filter><And><Prefix>{'p' * 300}{number}</Prefix>"
                           + "".join(f"<Tag><Key>k{n}</Key><Value>v{number}</Value></Tag>" for n in range(5))
                           + "</And></Filter><Status>Enabled</Status><Expiration><Days>36500</Days></Expiration></Rule>")
    body = "".join(rule(number) for number in range(rules))
    return f"<LifecycleConfiguration {S3_XML}>{body}</LifecycleConfiguration>".encode()


def website(rules=50):
    rule = lambda number: (f"<RoutingRule><Condition><KeyPrefixEquals>{'p' * 900}{number}</KeyPrefixEquals></Condition>"
                           f"<Redirect><ReplaceKeyPrefixWith>{'q' * 900}</ReplaceKeyPrefixWith></Redirect></RoutingRule>")
    body = "".join(rule(number) for number in range(rules))
    return (f"<WebsiteConfiguration {S3_XML}><IndexDocument><Suffix>index</Suffix></IndexDocument>"
            f"<RoutingRules>{body}</RoutingRules></WebsiteConfiguration>").encode()


def tags(count, value_chars=256):
    body = "".join(f"<Tag><Key>{n:03}{'k' * 125}</Key><Value>{'v' * value_chars}</Value></Tag>" for n in range(count))
    return f"<Tagging {S3_XML}><TagSet>{body}</TagSet></Tagging>".encode()


def grants(owner, count=100):
    grant = (f'<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">'
             f"<ID>{owner}</ID></Grantee><Permission>READ</Permission></Grant>")
    return (f"<AccessControlPolicy {S3_XML}><Owner><ID>{owner}</ID></Owner><AccessControlList>{grant * count}"
            f"</AccessControlList></AccessControlPolicy>").encode()


def deletes(keys, versions=None):
    named = lambda n, key: f"<Object><Key>{key}</Key>" + (f"<VersionId>{versions[n]}</VersionId>" if versions else "") + "</Object>"
    return (f"<Delete {S3_XML}>" + "".join(named(n, key) for n, key in enumerate(keys)) + "</Delete>").encode()


def completion(etags):
    part = lambda n, etag: f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"
    parts = "".join(part(n, etag) for n, etag in enumerate(etags, 1))
    return f"<CompleteMultipartUpload {S3_XML}>{parts}</CompleteMultipartUpload>".encode()
