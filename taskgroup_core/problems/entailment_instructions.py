"""Thirty-two instructions for textual entailment, written for this project."""

from __future__ import annotations

from taskgroup_core.problems.templates import Instruction

# Answers for (no entailment, entailment), what is peculiar, and texts by name.
_GROUPS: tuple[tuple[tuple[str, str], str, dict[str, str]], ...] = (
    (
        ("No", "Yes"),
        "",
        {
            "question": "{{premise}}\nFrom this alone, can you tell that {{hypothesis}}",
            "question first": "Is the last line a consequence of the text?\n{{premise}}\n{{hypothesis}}",
            "terse": "{{premise}} => {{hypothesis}} ?",
            "imperative": "Read the text and check the claim.\nText: {{premise}}\nClaim: {{hypothesis}}\nSupported?",
            "polite": "Would you kindly check whether the text backs "
            "the claim? Text: {{premise}} Claim: {{hypothesis}}",
            "reader": "Someone who has read only this: {{premise}} Would that person agree that {{hypothesis}}",
            "summary": "Could this line stand in a faithful summary?\nText: {{premise}}\nLine: {{hypothesis}}",
        },
    ),
    (
        ("No", "Yes"),
        "role play",
        {
            "fact checker": "You check facts for a newspaper. Your only source "
            "says: {{premise}} May we print: {{hypothesis}}",
            "judge": "In court the witness stated: {{premise}} The lawyer "
            "concludes: {{hypothesis}} Does the judge let it stand?",
            "examiner": "Exam. Passage: {{premise}} A candidate answers: {{hypothesis}} Is full credit due?",
        },
    ),
    (
        ("No", "Yes"),
        "order swapped",
        {
            "search": "I search for evidence that {{hypothesis}} Is this a hit? {{premise}}",
            "because": "{{hypothesis}} How do I know? Because: {{premise}} Is that reason enough?",
        },
    ),
    (
        ("False", "True"),
        "other words",
        {
            "true or false": "{{premise}}\nTrue or false, by the text: {{hypothesis}}",
            "statement": "The second text is certain once the first is given.\n1: {{premise}}\n2: {{hypothesis}}",
            "formal": 'Let P be the proposition "{{premise}}" and H be "{{hypothesis}}". Does P entail H?',
            "code": 'assert follows("{{hypothesis}}", given="{{premise}}")',
        },
    ),
    (
        ("open", "proved"),
        "other words",
        {
            "label": 'Label the claim "proved" or "open".\nText: {{premise}}\nClaim: {{hypothesis}}',
        },
    ),
    (
        ("unproven", "confirmed"),
        "other words",
        {
            "verdict": "Source: {{premise}}\nRumour: {{hypothesis}}\nVerdict on the rumour:",
        },
    ),
    (
        ("wrong", "right"),
        "other words",
        {
            "right or wrong": '{{premise}} Therefore {{hypothesis}} Is the "therefore" right or wrong?',
        },
    ),
    (
        ("unsure", "certain"),
        "other words",
        {
            "certainty": "Given: {{premise}} How sure can one be that {{hypothesis}}",
        },
    ),
    (
        ("Yes", "No"),
        "reversed",
        {
            "reversed doubt": "{{premise}}\nIs it still open whether {{hypothesis}}",
            "reversed leap": "From: {{premise}} To: {{hypothesis}} Is this an unjustified leap?",
            "reversed scenario": "Suppose that {{premise}} Can one imagine that "
            "the following is false all the same? {{hypothesis}}",
            "reversed terse": "{{premise}} => {{hypothesis}} | gap in the reasoning?",
        },
    ),
    (
        ("True", "False"),
        "reversed",
        {
            "reversed statement": "The text leaves the claim undecided. Text: {{premise}} Claim: {{hypothesis}}",
        },
    ),
    (
        ("No", "Yes"),
        "no instruction",
        {
            "bare": "{{premise}}\n{{hypothesis}}",
        },
    ),
    (
        ("No", "Yes"),
        "irrelevant",
        {
            "irrelevant weather": "It may rain tomorrow, so take an umbrella. {{premise}} {{hypothesis}}",
            "irrelevant recipe": "Boil the noodles for nine minutes. {{premise}} Stir well. {{hypothesis}} Serve hot.",
        },
    ),
    (
        ("No", "Yes"),
        "misleading",
        {
            "misleading sentiment": "Do both texts sound cheerful?\n{{premise}}\n{{hypothesis}}",
            "misleading length": "Is the second text longer than the first?\n{{premise}}\n{{hypothesis}}",
            "misleading grammar": "Is every sentence below in the past tense?\n{{premise}}\n{{hypothesis}}",
            "misleading translation": "Is the second line a translation of the first into French?\n"
            "{{premise}}\n{{hypothesis}}",
        },
    ),
)

ENTAILMENT = {
    name: Instruction(name, text, answers, note) for answers, note, texts in _GROUPS for name, text in texts.items()
}
