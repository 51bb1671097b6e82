"""Overview of the object that an identifier names, as a document or a page of text."""

from catalog.show.identifier import describe as describe
from catalog.show.page import page as page
