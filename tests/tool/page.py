"""page.py -- what can be told of a report without a browser."""
import html.parser
import re
import unicodedata
import xml.etree.ElementTree

from harness import check, check_equal

VOID = ("meta", "br", "hr", "wbr")


class Page(html.parser.HTMLParser):
    """A page's elements: that they nest, their ids, what they refer to, and its words."""

    def __init__(self, source):
        super().__init__()
        self.open, self.ids, self.links, self.names, self.words = [], [], [], [], ""
        self.feed(source)
        self.close()
        check_equal(self.open, [], "what is still open at the end of the page")

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)
        check_equal(len(attrs), len(dict(attrs)), f"the attributes of {tag} {attrs}")
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag):
        check_equal(tag, self.open.pop(), "what an end tag ends")

    def handle_data(self, data):
        self.words += data


def width(line):
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in line)


LETTER = 6.62  # the width of a letter in a picture, whose text is of one width


def is_inside(element, box):
    """No part of a text is beyond the edges of its picture."""
    left, top, right, bottom = box
    x, y, words = float(element.get("x")), float(element.get("y")), element.text or ""
    classes, wide = (element.get("class") or "").split(), width(words) * LETTER
    begin = x - (wide if "end" in classes else wide / 2 if "middle" in classes else 0)
    check(left - 1 <= begin and begin + wide <= right + 1 and top <= y <= bottom,
          f"'{words}' is outside: from {begin} to {begin + wide}")


def is_whole_page(source):
    page = Page(source)
    check_equal(len(page.ids), len(set(page.ids)), f"how many ids are unique in {page.ids}")
    for link in page.links:
        check(link[:1] == "#" and link[1:] in page.ids, f"the page refers to {link}")
    for word in ("script", "link", "iframe", "img", "image", "use", "object"):
        check(word not in page.names, f"the page has an element {word}")
    for words in ("@import", "url(", "://"):
        check(words not in source.split("</style>")[0], f"the page's style has {words}")
    check_equal(source.count("<svg"), page.names.count("svg"), "the number of pictures")
    for picture in re.findall(r"<svg.*?</svg>", source, re.DOTALL):
        drawn = xml.etree.ElementTree.fromstring(picture)
        box = list(map(float, drawn.get("viewBox").split()))
        for element in drawn.iter("text"):
            is_inside(element, box)
    return page


def contrast(one, other):
    """How far two colours are apart in brightness, as WCAG counts it: from 1 to 21."""
    def brightness(colour):
        digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
        parts = [int(digits[i:i + 2], 16) / 255 for i in (0, 2, 4)]
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)
