"""The plans of the models that are trained here: on which encoder, how, and what the card says in words."""

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ser_core.errors import SettingError
from ser_core.intended_use import FORBIDDEN
from ser_core.tasks import TASKS, Task, of_shares, task_of
from ser_core.training import Recipe
from ser_core.weights import WHISPER

if TYPE_CHECKING:
    from ser_core.corpora import Corpus

CREMA_D_LIMITS = (
    "Trained on acted English: 91 North American actors who spoke twelve fixed sentences. It has heard no spontaneous "
    "speech, no other language, no children and no patients.",
    "The label is the emotion the actor was asked to play. It was the most frequent answer of listeners who only heard "
    "the voice on fewer than half of the clips, so this is not what people hear, and not what the speaker felt.",
    f"Not a medical device. {FORBIDDEN}",
)

BEFORE_ITS_SEED = (
    "Its first weights were drawn before the seed decided them: trained anew by its command, it answers a little "
    "otherwise."
)
"""What is true of models whose answers a new training does not repeat to the last digit."""

LISTENERS_LIMITS = (
    CREMA_D_LIMITS[0],
    "It answers how about nine listeners who only heard the voice would split over six words. That is neither how sure "
    "the model is nor what the speaker felt, and the listeners could choose no other word.",
    CREMA_D_LIMITS[2],
)

DIMENSIONS_LIMITS = (
    "Its values are those of the speech it was trained on: what raters heard in acted voices, each on a scale with "
    "its own words. They are not what the speaker felt.",
    CREMA_D_LIMITS[2],
)
VOTED_DIMENSIONS_LIMITS = (
    CREMA_D_LIMITS[0],
    "Vote-derived VAD: nobody rated valence, arousal or dominance here. The target is the mean of published "
    "coordinates of emotion words (Russell & Mehrabian 1977: angry −.51 .59 .25, disgusted −.60 .35 .11, fearful "
    "−.64 .60 −.43, happy .81 .51 .46, sad −.63 −.27 −.33; neutral, which they did not list, is set to 0 0 0) under "
    "the votes of about nine listeners a clip. It says where the chosen words lie, so it never leaves the space "
    "between them.",
    *DIMENSIONS_LIMITS,
)
CHOSEN_ON_TWO_FOLDS = (
    "How long it is trained, and on how many frames of a clip, was chosen on the figures of folds 0 and 1 out of five, "
    "so they flatter it a little."
)
CHOSEN_ON_THE_FOLDS = (
    "Which two of eight models answer together was chosen on the figures of all five folds, so they flatter it a "
    "little."
)
TWELVE_SENTENCES = (
    "It learned what words mean for emotion from twelve sentences that were each said in every emotion. All that its "
    "text levels found is that one of them is seldom neutral, so that any other text speaks a little for neutral: do "
    "not read more into it. Its embedding level alone is better than the ensemble (Results)."
)
EMOTALE_LIMITS = (
    "Trained on 800 acted clips of 18 Danes, three of them children, who spoke five emotions in Danish and English; "
    "three raters each. It has heard no spontaneous speech and no patients. Only 18 speakers stand behind its figures.",
    *DIMENSIONS_LIMITS,
)


@dataclass(frozen=True)
class Plan:
    """One model: its system, encoder, recipe and the words on its card.

    Attributes:
        name: of the model's folder.
        title: what the user sees.
        system: module in ``ser_core.systems``.
        encoder: what the module reads a clip with.
        summary: a sentence or two for the card.
        place: where it stands among the models that are offered; the smallest comes first.
        licences: of encoder and training data.
        recipe: the numbers of the training.
        task: name in ``tasks.TASKS``: corpus, emotions and folds.
        answer: "emotion", "distribution" or "dimensions", as on the card.
        outputs: what the model answers with, where that is not the task's emotions.
        options: further keyword arguments of the system's ``fit``.
        limits: what the model must not be trusted with.
        extra: further facts for the card, which the system's ``load`` may need.
        augmentation: module in ``ser_core.systems`` that makes further training clips, and its option after a colon.
        further_corpora: what parts of it also learned from, beside the task's corpus.
        on: the task itself, where it is none of ``tasks.TASKS``.
    """

    name: str
    title: str
    system: str
    encoder: str
    summary: str
    place: int
    licences: tuple[str, ...]
    recipe: Recipe = field(default_factory=Recipe)
    task: str = "crema_d"
    answer: str = "emotion"
    outputs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = CREMA_D_LIMITS
    extra: dict[str, Any] = field(default_factory=dict)
    augmentation: str = ""
    further_corpora: tuple[str, ...] = ()
    on: Task | None = None

    @property
    def its_task(self) -> Task:
        """The task: corpus, emotions and folds."""
        return self.on or TASKS[self.task]

    @property
    def words(self) -> dict[str, Any]:
        """What the card says that no run decides, by field of ``models.Card``."""
        return {
            "title": self.title,
            "summary": self.summary,
            "corpora": (self.its_task.title, *self.further_corpora),
            "licences": self.licences,
            "intended_use": "Research and teaching about how speech emotion models decide. Not a diagnosis.",
            "limits": self.limits,
        }

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model answers with, in the order of its outputs."""
        return self.outputs or self.its_task.emotions


EMOTALE_LICENCE = "Training data EmoTale: no licence stated, the authors ask to be cited"
CREMA_D_LICENCE = "Training data CREMA-D: ODbL 1.0 (database), DbCL 1.0 (contents)"
KEYWORDS_LICENCES = (
    "Keyword network's training data Free Spoken Digit Dataset: CC BY-SA 4.0",
    "Keyword network's training data RAVDESS (words of its sentences): CC BY-NC-SA 4.0, not for commercial use",
)

OPENSMILE_LICENCE = "openSMILE: audEERING research licence (free for research, not for commercial products)"

HEADS_RECIPE = Recipe(epochs=30, batch=128, rate=1e-3, weight_decay=0.1, mixup=0.4)
POOLING_RECIPE = Recipe(epochs=24, batch=128, rate=1e-3, weight_decay=0.1, mixup=0.4)
TUNING_RECIPE = Recipe(epochs=8, rate=1e-3, encoder_rate=1e-4, layer_decay=0.8)
FUNCTIONALS_RECIPE = Recipe(epochs=20, batch=64, rate=1e-3)

PLANS = {
    plan.name: plan
    for plan in (
        Plan(
            name="whisper-base-statistics",
            title="Whisper base, frozen",
            system="whisper_statistics",
            encoder="whisper-base",
            summary="The published encoder of Whisper base as it is; mean and deviation over time of every layer, and "
            "three small heads.",
            place=3,
            licences=("Encoder Whisper base: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=HEADS_RECIPE,
        ),
        Plan(
            name="whisper-tiny-statistics",
            title="Whisper tiny.en, frozen",
            system="whisper_statistics",
            encoder="whisper-tiny.en",
            summary="The published encoder of Whisper tiny.en as it is; mean and deviation over time of every layer, "
            "and three small heads.",
            place=1,
            licences=("Encoder Whisper tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=HEADS_RECIPE,
        ),
        Plan(
            name="whisper-base-tuned",
            title="Whisper base, fine-tuned",
            system="whisper_pooling",
            encoder="whisper-base",
            summary="The whole encoder of Whisper base, fine-tuned; a learned mix of its layers and attentive pooling "
            "on top.",
            place=6,
            licences=("Encoder Whisper base: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=TUNING_RECIPE,
        ),
        Plan(
            name="whisper-together",
            title="Whisper base and tiny.en together",
            system="whisper_together",
            encoder="whisper-base",
            summary="The frozen Whisper base and the frozen Whisper tiny.en with attentive pooling, asked together: "
            "the mean of their log-probabilities.",
            place=4,
            licences=("Encoders Whisper base and tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
            limits=(*CREMA_D_LIMITS, CHOSEN_ON_THE_FOLDS),
        ),
        Plan(
            name="whisper-tiny-tuned",
            title="Whisper tiny.en, fine-tuned",
            system="whisper_pooling",
            encoder="whisper-tiny.en",
            summary="The whole encoder of Whisper tiny.en, fine-tuned; a learned mix of its layers and attentive "
            "pooling on top.",
            place=5,
            licences=("Encoder Whisper tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=TUNING_RECIPE,
        ),
        Plan(
            name="whisper-tiny-attentive",
            title="Whisper tiny.en, attentive pooling",
            system="lightweight_heads",
            encoder="whisper-tiny.en",
            summary="The published encoder of Whisper tiny.en as it is; a learned mix of its layers decides where "
            "in time each layer is listened to, and three small heads answer.",
            place=2,
            licences=("Encoder Whisper tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=POOLING_RECIPE,
            options={"head": "attentive"},
            limits=(*CREMA_D_LIMITS, CHOSEN_ON_TWO_FOLDS),
        ),
        Plan(
            name="whisper-base-attentive",
            title="Whisper base, attentive pooling",
            system="lightweight_heads",
            encoder="whisper-base",
            summary="The published encoder of Whisper base as it is; a learned mix of its layers decides where "
            "in time each layer is listened to, and three small heads answer.",
            place=4,
            licences=("Encoder Whisper base: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=POOLING_RECIPE,
            options={"head": "attentive"},
        ),
        Plan(
            name="log-mel-resnet",
            title="Log-mel ResNet",
            system="log_mel_resnet",
            encoder="none (trained from scratch)",
            summary="A small residual network on the log-mel spectrogram, as in the published study of cues in salient "
            "regions; explained in a blink, also by DeepLIFT and LRP.",
            place=7,
            licences=(CREMA_D_LICENCE,),
            recipe=Recipe(epochs=12, batch=32, rate=3e-3, average=0.99),
            limits=(
                *CREMA_D_LIMITS,
                BEFORE_ITS_SEED,
                "Trained and judged on whole clips whose spectrogram mirrors the sound before its first sample; the "
                "app puts silence there and leaves out the silence around a clip, so that an answer here can differ "
                "from the one that was judged.",
            ),
        ),
        Plan(
            name="egemaps-logistic",
            title="eGeMAPS, logistic regression",
            system="functionals_classifier",
            encoder="eGeMAPSv02",
            summary="88 named acoustic functionals of the whole clip (openSMILE) and logistic regression: fully "
            "transparent, with no time axis of its own.",
            place=8,
            licences=(OPENSMILE_LICENCE, CREMA_D_LICENCE),
            recipe=FUNCTIONALS_RECIPE,
        ),
        Plan(
            name="egemaps-mlp",
            title="eGeMAPS, small network",
            system="functionals_classifier",
            encoder="eGeMAPSv02",
            summary="88 named acoustic functionals of the whole clip (openSMILE) and a perceptron with one hidden "
            "layer; no time axis of its own.",
            place=9,
            licences=(OPENSMILE_LICENCE, CREMA_D_LICENCE),
            recipe=FUNCTIONALS_RECIPE,
            options={"classifier": "mlp"},
        ),
        Plan(
            name="compare-logistic",
            title="ComParE, logistic regression",
            system="functionals_classifier",
            encoder="ComParE_2016",
            summary="6,373 named acoustic functionals of the whole clip (openSMILE) and logistic regression: one "
            "weight a functional and emotion, with no time axis of its own.",
            place=10,
            licences=(OPENSMILE_LICENCE, CREMA_D_LICENCE),
            recipe=FUNCTIONALS_RECIPE,
        ),
        Plan(
            name="compare-mlp",
            title="ComParE, small network",
            system="functionals_classifier",
            encoder="ComParE_2016",
            summary="6,373 named acoustic functionals of the whole clip (openSMILE) and a perceptron with one hidden "
            "layer; no time axis of its own.",
            place=11,
            licences=(OPENSMILE_LICENCE, CREMA_D_LICENCE),
            recipe=FUNCTIONALS_RECIPE,
            options={"classifier": "mlp"},
        ),
        Plan(
            name="edrl-mea",
            title="EDRL-MEA, made for noise and other corpora",
            system="edrl_mea",
            encoder="whisper-tiny.en",
            summary="An encoder for each emotion and a shared one on frozen Whisper tiny.en, aligned with the speech "
            "input by multiblock partial least squares; learned on clean speech only.",
            limits=(
                *CREMA_D_LIMITS,
                "It is made for noise, but kept no more of its recall there than the plain encoder did, and in loud "
                "noise less; on RAVDESS and EMO-DB, which it never heard, it did better, most of it by the encoders "
                "alone, without the alignment (the study of its stages on Results). One seed.",
            ),
            place=16,
            licences=("Encoder Whisper tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=Recipe(epochs=12, batch=128, rate=1e-3, weight_decay=0.1, mixup=0.4),
        ),
        Plan(
            name="label-distribution",
            title="Label distribution (listeners’ votes)",
            system="label_distribution",
            encoder="whisper-tiny.en",
            summary="Learns from what listeners heard, not from what was acted: it answers with the share of listeners "
            "who would choose each emotion (EM2LDL's loss, on frozen Whisper tiny.en).",
            place=18,
            licences=("Encoder Whisper tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=Recipe(epochs=16, batch=128, rate=1e-3, weight_decay=0.1, mixup=0.4, label_smoothing=0.0),
            answer="distribution",
            options={"pooling": "statistics", "hidden": 128},
            limits=(*LISTENERS_LIMITS, BEFORE_ITS_SEED),
        ),
        Plan(
            name="emosphere-emotale",
            title="Valence, arousal, dominance (rated)",
            system="emosphere",
            encoder="whisper-tiny.en",
            summary="Answers with three scales instead of an emotion: unpleasant to pleasant, calm to excited, weak to "
            "strong (EmoSphere-SER on frozen Whisper tiny.en), learned from the ratings of three raters a clip.",
            place=19,
            licences=("Encoder Whisper tiny.en: MIT (OpenAI)", EMOTALE_LICENCE),
            recipe=Recipe(epochs=12, batch=32, rate=1e-3, weight_decay=0.05, average=0.98),
            task="emotale",
            answer="dimensions",
            outputs=("valence", "arousal", "dominance"),
            limits=EMOTALE_LIMITS,
        ),
        Plan(
            name="emosphere",
            title="Valence, arousal, dominance (vote-derived)",
            system="emosphere",
            encoder="whisper-tiny.en",
            summary="Answers with three scales instead of an emotion (EmoSphere-SER on frozen Whisper tiny.en), "
            "learned from vote-derived VAD: where the emotion words that CREMA-D's listeners chose lie on the scales.",
            place=20,
            licences=("Encoder Whisper tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
            recipe=Recipe(epochs=6, batch=64, rate=1e-3, weight_decay=0.05, average=0.99),
            answer="dimensions",
            outputs=("valence", "arousal", "dominance"),
            limits=VOTED_DIMENSIONS_LIMITS,
        ),
        Plan(
            name="edge-fusion",
            title="Edge late fusion",
            system="edge_fusion",
            encoder="MicroFrontend",
            summary="For a microcontroller: a transformer of 0.18 million parameters on MicroFrontend features and a "
            "frozen keyword network, fused late; an int8 copy for the device lies beside it.",
            place=17,
            licences=(CREMA_D_LICENCE, *KEYWORDS_LICENCES),
            recipe=Recipe(epochs=8, batch=32, rate=2e-3, average=0.99, masked=0.5),
            options={"fused": True},
            further_corpora=("Free Spoken Digit Dataset and RAVDESS (keyword network)",),
            limits=(
                *CREMA_D_LIMITS,
                "Its keyword network learned from few real words and misses some of them altogether. What fusion adds "
                "may be the voice that it carries rather than words; no control tells the two apart.",
            ),
        ),
        Plan(
            name="mater",
            title="Words, utterance, embedding (MATER)",
            system="mater",
            encoder="whisper-tiny.en",
            summary="Three levels that each hear the voice and read the text, in an ensemble that listens to those "
            "that are sure. What each word brings to the answer is exact. Its text comes from Whisper, or from you.",
            place=15,
            licences=(
                "Recogniser and speech encoder Whisper tiny.en: MIT (OpenAI)",
                "Sentence encoder all-MiniLM-L6-v2: Apache-2.0",
                "Word list of VADER: MIT",
                OPENSMILE_LICENCE,
                CREMA_D_LICENCE,
            ),
            limits=(
                *CREMA_D_LIMITS,
                TWELVE_SENTENCES,
                "Its figures were measured with the corpora's own transcripts. In the app Whisper recognises the words "
                "unless you give them, and an answer may differ where it mishears.",
            ),
        ),
    )
}

PLANS["co-vada-after"] = replace(
    PLANS["whisper-tiny-statistics"],
    name="co-vada-after",
    title="Whisper tiny.en, frozen, after CO-VADA",
    summary="The same model as Whisper tiny.en, frozen, trained with each easily learnt clip said once more in the "
    "voice of a speaker whose clips of that emotion are not learnt easily (Praat). Compare the two on one clip.",
    place=12,
    extra={"before": "whisper-tiny-statistics"},
    augmentation="co_vada:praat",
)

RAVDESS_LIMITS = (
    "Trained on acted English: 24 North American actors who spoke two fixed sentences, eight emotions, in a studio. It "
    "has heard no spontaneous speech, no other language, no children and no patients.",
    "The label is the emotion the actor was asked to play, not what listeners hear and not what the speaker felt.",
    CREMA_D_LIMITS[2],
)
RAVDESS_LICENCE = "Training data RAVDESS: CC BY-NC-SA 4.0, not for commercial use"

PLANS["mll-crema-d"] = Plan(
    name="mll-crema-d",
    title="Frame attention (MLL)",
    system="mll",
    encoder="whisper-tiny.en",
    summary="Attention over frames and four losses (MLL) on frozen Whisper tiny.en, without mixed speech. The weight "
    "of each frame is shown beside the explanation.",
    place=13,
    licences=("Encoder Whisper tiny.en: MIT (OpenAI)", CREMA_D_LICENCE),
    recipe=Recipe(epochs=8, batch=64, rate=2e-3, weight_decay=0.05, average=0.99),
    options={"eam": False},
    limits=(
        *CREMA_D_LIMITS,
        "Its attention and losses find no more than simpler heads on the same encoder do: it is here for the weights "
        "of its frames, not for its figures.",
        BEFORE_ITS_SEED,
    ),
)

PLANS["mll-ravdess"] = Plan(
    name="mll-ravdess",
    title="Eight emotions (MLL)",
    system="mll",
    encoder="whisper-tiny.en",
    summary="Eight emotions, calm and surprise among them: speech mixed by energy, attention over frames and four "
    "losses (MLL) on frozen Whisper tiny.en; the head starts from the one that was trained on CREMA-D. The weight of "
    "each frame is shown beside the explanation.",
    place=14,
    licences=("Encoder Whisper tiny.en: MIT (OpenAI)", RAVDESS_LICENCE, CREMA_D_LICENCE),
    recipe=Recipe(epochs=12, batch=64, rate=2e-3, weight_decay=0.05, average=0.97),
    task="ravdess",
    options={"start": "mll-crema-d"},
    limits=(
        *RAVDESS_LIMITS,
        "That its head starts from one trained on CREMA-D was decided with the test folds' figures in view, so they "
        "flatter it a little.",
    ),
    further_corpora=("CREMA-D (where its head starts)",),
)


ONLY_WHISPER = {"whisper_pooling": "fine-tunes a Whisper's own layers", "mater": "needs a recogniser of words"}
"""Systems whose encoder has to be a Whisper, and why."""


def with_encoder(plan: Plan, encoder: str) -> Plan:
    """Return the same system on another encoder, under a name of its own.

    Raises:
        SettingError: the system has no encoder that could be another one, or not this one.
    """
    if plan.encoder not in WHISPER or plan.system == "whisper_together":
        raise SettingError(f"{plan.title} has no encoder that could be another one; leave out --encoder.")
    if encoder not in WHISPER and plan.system in ONLY_WHISPER:
        raise SettingError(f"{plan.title} {ONLY_WHISPER[plan.system]}; choose {' or '.join(WHISPER)} as --encoder.")
    return replace(
        plan,
        name=f"{plan.name}-{slug_of(encoder)}",
        title=f"{plan.title}, on {encoder}",
        encoder=encoder,
        summary=f"{plan.summary} Here its encoder is {encoder}.",
        licences=(
            f"Encoder {encoder}: see its own",
            *(each for each in plan.licences if not each.startswith("Encoder")),
        ),
        options={name: value for name, value in plan.options.items() if name != "start"},
    )


def slug_of(encoder: str) -> str:
    """Return an encoder's name or folder as a part of a file's name."""
    return re.sub(r"[^a-z0-9.]+", "-", encoder.lower()).strip("-")


def with_converted_voices(plan: Plan, backend: str) -> Plan:
    """Return the same system, trained on its easily learnt clips in other voices as well (CO-VADA).

    Args:
        plan: of the system.
        backend: of ``conversion``.

    Raises:
        SettingError: the system is not trained itself or learns from converted voices already; no such backend.
    """
    from ser_core.conversion import BACKENDS

    if backend not in BACKENDS:
        raise SettingError(f"There is no voice conversion '{backend}'; there are {', '.join(BACKENDS)}.")
    if plan.system == "whisper_together" or plan.augmentation:
        raise SettingError(f"{plan.title} is not trained on other clips than it is; leave out --converted-voices.")
    return replace(
        plan,
        name=f"{plan.name}-co-vada-{backend}",
        title=f"{plan.title}, with converted voices ({backend})",
        summary=f"{plan.summary} Its most easily learnt clips were also learnt in other voices (CO-VADA, {backend}).",
        augmentation=f"co_vada:{backend}",
        options={name: value for name, value in plan.options.items() if name != "start"},
    )


def on_corpus(plan: Plan, corpus: "Corpus") -> Plan:
    """Return the same system to be trained on another corpus, under a name of its own.

    Raises:
        SettingError: parts of it are made for its own corpus only.
        CorpusError: as of ``tasks.task_of``.
    """
    if plan.system == "whisper_together":
        raise SettingError(f"Parts of {plan.title} are made for {plan.its_task.title}; choose its folder.")
    if plan.system == "edge_fusion" and corpus.name == "ravdess":
        raise SettingError(f"The keyword network of {plan.title} has heard RAVDESS's speakers; choose another corpus.")
    task = task_of(corpus)
    if plan.answer == "distribution":
        task = of_shares(task, corpus)
    outside = tuple(each for each in plan.licences if not each.startswith("Training data"))
    return replace(
        plan,
        name=f"{plan.name}-{task.name.replace('_', '-')}",
        title=f"{plan.title}, {task.title}",
        task=task.name,
        on=task,
        licences=(*outside, f"Training data {task.title}: {corpus.licence}"),
        limits=(f"Trained on {task.title} by a reader's own command: its figures hold for such speech only.",),
        options={name: value for name, value in plan.options.items() if name != "start"},
        further_corpora=(),
    )
