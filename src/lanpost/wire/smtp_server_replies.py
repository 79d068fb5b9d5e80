"""What the server's SMTP session says by itself; what the intake decides is in `model.reply` and its own."""

from __future__ import annotations

from lanpost.model.reply import Reply

EARLY_TALKER = Reply(554, "5.5.0", "You spoke before the greeting")
EARLY_CONTENT = Reply(554, "5.5.0", "Nothing may follow DATA or STARTTLS before its answer (RFC 2920, 3.1)")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
BARE_LINE_FEED = Reply(500, "5.5.2", "Lines end with CR LF")
CONTROL_CHARACTER = Reply(500, "5.5.2", "Control character in a command")
UNKNOWN_COMMAND = Reply(500, "5.5.1", "Command not recognized")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
NOT_SMTP = Reply(554, "5.5.1", "This is SMTP")
HELLO_FIRST = Reply(503, "5.5.1", "Say EHLO or HELO first")
MAIL_FIRST = Reply(503, "5.5.1", "Say MAIL first")
ALREADY_IN_MAIL = Reply(503, "5.5.1", "A mail is already under way; RSET gives it up")
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
NOT_NOW = Reply(503, "5.5.1", "Command not valid now")
LOGIN_FIRST = Reply(530, "5.7.0", "Authentication required")
ALREADY_LOGGED_IN = Reply(503, "5.5.1", "Already authenticated")
TLS_FIRST = Reply(538, "5.7.11", "Say STARTTLS first: no password in the clear here")
NO_ARGUMENT = Reply(501, "5.5.4", "This command takes no argument")
NO_NAME = Reply(501, "5.5.4", "Syntax: EHLO name, or HELO name")
VRFY_SYNTAX = Reply(501, "5.5.4", "Syntax: VRFY name")
CANNOT_VERIFY = Reply(252, "2.0.0", "Not told here; send it mail and see")
HELP_TEXT = Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH (RFC 5321)")
CHUNK_OK = Reply(250, "2.0.0", "Chunk ok")
BYE = Reply(221, "2.0.0", "Bye")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients; send the rest in another mail")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands")
SMUGGLED = Reply(550, "5.6.0", "Bare CR or LF beside a dot: lines end with CR LF (RFC 5321, 2.3.8)")
