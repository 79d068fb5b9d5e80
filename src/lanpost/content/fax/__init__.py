"""Internet fax (T.37; RFC 3965): pages, TIFF profiles S and F (RFC 3949), addresses, mails.

An optional extra, `lanpost[fax]`: a mail server needs none of it.
"""
