"""Thirty-two instructions for word-in-context pairs, written for this project."""

from __future__ import annotations

from taskgroup_core.problems.templates import Instruction

# Answers for (different senses, one sense), what is peculiar, and texts by name.
_GROUPS: tuple[tuple[tuple[str, str], str, dict[str, str]], ...] = (
    (
        ("No", "Yes"),
        "",
        {
            "question": "{{sentence1}}\n{{sentence2}}\nIs {{word}} used in one and the same sense here?",
            "question first": "Is the sense of {{word}} the same in both lines?\n{{sentence1}}\n{{sentence2}}",
            "terse": "{{word}}: {{sentence1}} | {{sentence2}} | same sense?",
            "imperative": "Compare how {{word}} is used.\n1. {{sentence1}}\n2. {{sentence2}}\nOne sense?",
            "polite": "Could you please tell me whether {{word}} means "
            "the same in these? {{sentence1}} / {{sentence2}}",
            "dictionary": "Would a dictionary list {{word}} under one entry for both?\n"
            "a) {{sentence1}}\nb) {{sentence2}}",
            "definition": "Can a single definition of {{word}} cover both its uses?\n{{sentence1}}\n{{sentence2}}",
            "replace": "Think of a synonym of {{word}} that fits here: "
            "{{sentence1}} Does it fit here too: {{sentence2}}",
        },
    ),
    (
        ("No", "Yes"),
        "role play",
        {
            "lexicographer": "You edit a dictionary and sort quotations for {{word}} "
            "by sense. On one pile? {{sentence1}} // {{sentence2}}",
            "teacher": "A pupil claims that {{word}} means one thing in both "
            "examples. Is the pupil right?\n- {{sentence1}}\n- {{sentence2}}",
            "translator": "A translator meets {{word}} twice: {{sentence1}} "
            "And then: {{sentence2}} Will one translation of it do?",
        },
    ),
    (
        ("False", "True"),
        "other words",
        {
            "statement": "{{sentence1}}\n{{sentence2}}\nBoth lines use {{word}} alike.",
            "true or false": "True or false: {{word}} has one meaning across these.\n{{sentence1}}\n{{sentence2}}",
            "formal": "Let s and t denote the senses of the lemma {{word}} in the "
            "utterances below. Does s = t hold?\nU1: {{sentence1}}\nU2: {{sentence2}}",
            "code": 'sense("{{word}}", "{{sentence1}}") == sense("{{word}}", "{{sentence2}}")',
        },
    ),
    (
        ("different", "same"),
        "other words",
        {
            "label": 'Label the pair "same" or "different" by the sense of {{word}}.\n{{sentence1}}\n{{sentence2}}',
            "fill in": "{{sentence1}}\n{{sentence2}}\nThe senses of {{word}} are (same/different):",
        },
    ),
    (
        ("wrong", "right"),
        "other words",
        {
            "right or wrong": "Claim: {{word}} is used alike. Evidence: "
            "{{sentence1}} Also: {{sentence2}} Verdict on the claim?",
        },
    ),
    (
        ("clash", "match"),
        "other words",
        {
            "match": "word={{word}}; left={{sentence1}}; right={{sentence2}}; senses match or clash?",
        },
    ),
    (
        ("Yes", "No"),
        "reversed",
        {
            "reversed question": "{{sentence1}}\n{{sentence2}}\n"
            "Does {{word}} change its sense from one line to the other?",
            "reversed pun": "Could these two lines make a pun on {{word}}?\n{{sentence1}}\n{{sentence2}}",
            "reversed terse": "{{word}}: {{sentence1}} | {{sentence2}} | two senses?",
            "reversed dictionary": "Does {{word}} need two entries for these quotations?\n"
            "a) {{sentence1}}\nb) {{sentence2}}",
        },
    ),
    (
        ("True", "False"),
        "reversed",
        {
            "reversed statement": "{{word}} is ambiguous between these uses: {{sentence1}} and {{sentence2}}",
        },
    ),
    (
        ("No", "Yes"),
        "order swapped",
        {
            "swapped": "First read this: {{sentence2}} Then this: {{sentence1}} Did {{word}} keep its sense?",
        },
    ),
    (
        ("No", "Yes"),
        "word left out",
        {
            "no word": "{{sentence1}}\n{{sentence2}}\nSame sense?",
        },
    ),
    (
        ("No", "Yes"),
        "no instruction",
        {
            "bare": "{{word}}\n{{sentence1}}\n{{sentence2}}",
        },
    ),
    (
        ("No", "Yes"),
        "irrelevant",
        {
            "irrelevant weather": "It may rain tomorrow, so take an umbrella. {{word}}: {{sentence1}} / {{sentence2}}",
            "irrelevant recipe": "Boil the noodles for nine minutes. {{sentence1}} "
            "Stir well. {{sentence2}} Serve {{word}} hot.",
        },
    ),
    (
        ("No", "Yes"),
        "misleading",
        {
            "misleading sentiment": "Are both lines about {{word}} cheerful?\n{{sentence1}}\n{{sentence2}}",
            "misleading length": "Is the second line longer than the first? ({{word}})\n{{sentence1}}\n{{sentence2}}",
            "misleading grammar": "Is {{word}} a verb in both lines?\n{{sentence1}}\n{{sentence2}}",
        },
    ),
)

WORD_SENSE = {
    name: Instruction(name, text, answers, note) for answers, note, texts in _GROUPS for name, text in texts.items()
}
