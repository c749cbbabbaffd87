"""Turns an input file into an output file: how often each word of text.txt occurs, most frequent first."""
import collections
import re

with open("text.txt", encoding="utf-8") as text:
    words = collections.Counter(re.findall(r"[a-z]+", text.read().lower()))
with open("words.tsv", "w", encoding="utf-8") as out:
    for word, n in sorted(words.items(), key=lambda item: (-item[1], item[0])):
        print(word, n, sep="\t", file=out)
print(f"{words.total()} words, {len(words)} different ones")
