#!/usr/bin/env python3
"""Reads PowerShell scripts by two grammars of tree-sitter, and finds mistakes that PowerShell tells only when it comes to them.

    powershell.py FILE ...

No package registry that the tests may use has a PowerShell to run: npm's `pwsh` and `get-powershell` fetch one from elsewhere, the DLL in
PyPI's `pwsh` is Microsoft's reference assembly without code, and Debian has none. So this is no PowerShell. It knows nothing of cmdlets,
.NET types or values; what the two grammars accept and PowerShell refuses is not found.

Exit codes: 0 nothing found, 1 something found.
"""

import re
import sys

import tree_sitter_powershell
import tree_sitter_pwsh
from tree_sitter import Language, Parser

GRAMMARS = {
    "tree-sitter-pwsh": Parser(Language(tree_sitter_pwsh.language())),
    "tree-sitter-powershell": Parser(Language(tree_sitter_powershell.language())),
}

# Of PowerShell 7 only, and Windows has 5.1. (Pipeline chains, `&&`, are in `pipeline_chain_tail`.)
SINCE_7 = {"ternary_expression", "null_coalesce_expression", "null_conditional_expression", "pipeline_chain_tail", "??="}

# Commands that make code of text.
EVALUATE = {"invoke-expression", "iex"}

# The cmdlets that scripts may call: each was looked up in Microsoft's documentation, with the parameters that are used, for 5.1 and 7 or for
# the modules of Windows. Whoever uses another one looks it up, too.
CMDLETS = set(
    "add-content convertfrom-json convertto-json copy-item foreach-object format-table get-acl get-ciminstance get-command get-content get-date "
    "get-item get-itemproperty get-netconnectionprofile get-netfirewalladdressfilter get-netfirewallapplicationfilter "
    "get-netfirewallhypervrule get-netfirewallportfilter get-netfirewallprofile get-netfirewallrule get-netipaddress get-netipinterface "
    "get-nettcpconnection get-netudpendpoint get-process get-service get-winevent join-path measure-object move-item new-item "
    "new-netfirewallrule new-netipaddress new-object out-host out-null read-host remove-item remove-netfirewallrule remove-netipaddress "
    "resolve-dnsname resolve-path select-object set-content set-netconnectionprofile set-strictmode sort-object split-path start-process "
    "start-service start-sleep stop-process stop-service test-path wait-process where-object write-error write-host write-output "
    "write-verbose write-warning".split()
)

# about_Automatic_Variables and about_Preference_Variables, those that scripts read.
AUTOMATIC = set(
    "$ ? ^ _ args consolefilename error executioncontext false foreach home host input iscoreclr islinux ismacos iswindows lastexitcode "
    "matches myinvocation nestedpromptlevel null pid profile psboundparameters pscmdlet pscommandpath psculture psedition "
    "psdebugcontext pshome psitem psscriptroot "
    "psuiculture psversiontable pwd sender shellid stacktrace switch this true".split()
)
PREFERENCE = set(
    "confirmpreference debugpreference erroractionpreference errorview formatenumerationlimit informationpreference "
    "ofs outputencoding psdefaultparametervalues psmoduleautoloadingpreference psnativecommanduseerroractionpreference "
    "progresspreference verbosepreference warningpreference whatifpreference".split()
)
COMMON_PARAMETERS = set(
    "verbose debug erroraction warningaction informationaction errorvariable warningvariable outvariable outbuffer pipelinevariable "
    "whatif confirm".split()
)


def nodes(node):
    """The node and all below it, in order."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def text(node):
    return node.text.decode("utf-8", "replace")


def variable_name(node):
    """`$script:X`, `${x}` and `@x` as `x`; nothing for `$env:X` and other drives."""
    name = text(node)[1:].strip("{}").lower()
    scope, colon, rest = name.partition(":")
    if not colon:
        return name
    return rest if scope in ("script", "global", "local", "private", "using", "variable") else None


def inside(node, *kinds):
    while node.parent is not None:
        node = node.parent
        if node.type in kinds:
            return node
    return None


def is_assigned(node):
    if node.parent is not None and node.parent.type in ("foreach_statement", "script_parameter"):
        siblings = [child for child in node.parent.children if child.type == "variable"]
        return siblings[0] == node
    target = inside(node, "left_assignment_expression")
    # `$a.b = 1` and `$a[0] = 1` read `$a`.
    return target is not None and text(target).split("]")[-1].strip().lower() == text(node).lower()


def functions(tree):
    """Each function's name and its parameters, in order."""
    found = {}
    for node in nodes(tree):
        if node.type == "function_statement":
            name = next(text(child) for child in node.children if child.type == "function_name")
            block = next((inner for inner in nodes(node) if inner.type == "param_block"), None)
            parameters = []
            if block is not None:
                for parameter in nodes(block):
                    if parameter.type == "script_parameter":
                        variable = next(child for child in parameter.children if child.type == "variable")
                        parameters.append(variable_name(variable))
            found[name.lower()] = parameters
    return found


def calls(tree):
    """Each command with a plain name: its node, its name, and its named and other arguments."""
    for node in nodes(tree):
        if node.type == "command":
            name = next((text(child) for child in node.children if child.type == "command_name"), None)
            if name is None:
                continue
            elements = [child for part in node.children if part.type == "command_elements" for child in part.children]
            named = [text(e)[1:].rstrip(":").lower() for e in elements if e.type == "command_parameter"]
            others = [e for e in elements if e.type not in ("command_parameter", "command_argument_sep", "redirection")]
            yield node, name, named, others


def check(source):
    """The line and the text of whatever is wrong."""
    for at, byte in enumerate(source):
        if byte > 0x7E or byte < 0x20 and byte not in b"\t\r\n":
            line = source.count(b"\n", 0, at) + 1
            yield line, "not ASCII: Windows PowerShell reads a file without a byte order mark in the code page of the machine"
            break
    trees = {}
    for name, parser in GRAMMARS.items():
        trees[name] = parser.parse(source).root_node
        for node in nodes(trees[name]):
            if node.type == "ERROR" or node.is_missing:
                yield node.start_point[0] + 1, f"{name} does not understand: {text(node)[:60]!r}"
    tree = trees["tree-sitter-pwsh"]
    if tree.has_error:
        return
    if b"Set-StrictMode -Version" not in source:
        yield 1, "no Set-StrictMode"

    own = functions(tree)
    for node, name, named, others in calls(tree):
        line = node.start_point[0] + 1
        if "-" in name and "." not in name and name.lower() not in own and name.lower() not in CMDLETS | EVALUATE:
            yield line, f"{name} is no function of this file and none of CMDLETS in powershell.py"
        if name.lower() in EVALUATE:
            yield line, f"{name} makes code of text"
        if name.lower() in own:
            parameters = own[name.lower()]
            for parameter in named:
                if parameter not in parameters and parameter not in COMMON_PARAMETERS:
                    yield line, f"{name} has no parameter -{parameter}"
            if not named and len(others) > len(parameters):
                yield line, f"{name} takes {len(parameters)} arguments, not {len(others)}"

    assigned, read = set(), []
    for node in nodes(tree):
        line = node.start_point[0] + 1
        if node.type in SINCE_7:
            yield line, f"not in PowerShell 5.1: {text(node)[:60]!r}"
        if node.type == "variable":
            name = variable_name(node)
            if name is None:
                continue
            if is_assigned(node):
                assigned.add(name)
                if name in AUTOMATIC:
                    yield line, f"{text(node)} is PowerShell's own"
            else:
                read.append((line, name))
        if node.type == "verbatim_here_string_characters" and text(node).startswith("@'\nimport "):
            try:
                compile(text(node)[3:-2], "here-string", "exec")
            except SyntaxError as error:
                yield line, f"Python in it: {error}"
    for line, name in read:
        if name not in assigned and name not in AUTOMATIC and name not in PREFERENCE:
            yield line, f"${name} is never assigned"


# What must be found, so that it is known that this looks.
BROKEN = {
    "if ($true) {": "does not understand",
    "'a' | % { $_ ": "does not understand",
    "# \u00e4": "not ASCII",
    "$a = 1; iex $a": "makes code of text",
    "$a = 1 ?? 2": "not in PowerShell 5.1",
    "$a = $true ? 1 : 2": "not in PowerShell 5.1",
    "$a = $null; $a ??= 2": "not in PowerShell 5.1",
    "Get-Date && Get-Date": "not in PowerShell 5.1",
    "Write-Output $never": "never assigned",
    "$a = \"$never\"": "never assigned",
    "$never.b = 1": "never assigned",
    "$pid = 1": "PowerShell's own",
    "Get-Daet": "none of CMDLETS",
    "foreach ($input in 1, 2) { $input }": "PowerShell's own",
    "function Foo { param([string] $A); $A }; Foo -B 1": "no parameter -b",
    "function Foo { param([string] $A); $A }; Foo 1 2": "takes 1 arguments, not 2",
    "$a = @'\nimport os\nif os\n'@": "Python in it",
}


def main():
    for snippet, expected in BROKEN.items():
        source = f"Set-StrictMode -Version 3.0\n{snippet}\n".encode()
        found = [message for _, message in check(source)]
        if not any(expected in message for message in found):
            sys.exit(f"not found in {snippet!r}: {expected!r}, but {found}")
    if not any("no Set-StrictMode" in message for _, message in check(b"Get-Date\n")):
        sys.exit("a missing Set-StrictMode was not found")
    is_clean = True
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            source = file.read()
        for line, message in sorted(set(check(source))):
            print(f"{path}:{line}: {message}")
            is_clean = False
        print(f"{path}: {len(re.findall(rb'(?m)^', source))} lines read")
    sys.exit(0 if is_clean else 1)


main()
