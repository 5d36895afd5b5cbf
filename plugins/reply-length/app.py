"""Counts the words of an agent's replies. Returns three figures to the brand; delivers nothing."""

import json
from statistics import median

from wit_world import exports
from wit_world.imports.types import Outcome


def reply_lengths(transcript):
    """Words of each turn that is not the consumer's; a turn without a speaker or a text says nothing."""
    return [
        len(turn["text"].split())
        for turn in transcript
        if "text" in turn and turn.get("speaker", "consumer") != "consumer"
    ]


class Share(exports.Share):
    def on_event(self, event):
        lengths = reply_lengths(json.loads(event.fields).get("transcript", []))
        returns = {}
        if lengths:
            returns["reply"] = {
                "count": len(lengths),
                "median_words": median(lengths),
                "longest_words": max(lengths),
            }
        return Outcome(deliveries=[], returns=json.dumps(returns))
