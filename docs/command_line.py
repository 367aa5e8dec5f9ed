"""The commands and options of the command line, written from its parser."""

import argparse
import re

from skltransfer.cli._arguments import parser

WIDTH = 76


def commands() -> str:
    """Return a section for each command, in Markdown."""
    top = parser()
    (subparsers,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    return "\n".join(_command(name, command) for name, command in subparsers.choices.items())


def _command(name: str, command: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(command.prog, width=WIDTH)
    formatter.add_usage(command.usage, command._actions, command._mutually_exclusive_groups, "")
    lines = [f"## `{command.prog}`", "", _text(command.description), ""]
    lines += ["```text", formatter.format_help().strip(), "```", ""]
    for group in command._action_groups:
        actions = [a for a in group._group_actions if a.help is not argparse.SUPPRESS]
        if not actions:
            continue
        title = {"positional arguments": "arguments"}.get(group.title, group.title)
        lines += [f"**{title[0].upper()}{title[1:]}**", ""]
        lines += [
            f"- `{formatter._format_action_invocation(action)}`: "
            f"{_text(formatter._expand_help(action))}"
            for action in actions
        ] + [""]
    return "\n".join(lines)


def _text(words: str) -> str:
    """Return the words with the signs of Markdown as plain signs."""
    return re.sub(r"([*_<>`\[\]])", r"\\\1", words)
