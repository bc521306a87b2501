"""What requests and responses hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recbole_cfgdiff.recommender.recommender import Asked
from recbole_cfgdiff.serving.limits import Limits
from recbole_cfgdiff.serving.scoring import Job

MOST_SCALE = 100.0  # far beyond any that helps; scores stay numbers of 32 bits
_MOST_NUMBER = 10**15
_Number = Annotated[int, Field(ge=-_MOST_NUMBER, le=_MOST_NUMBER, description="taken by its text")]
# The names of the formats are for whoever makes up requests, such as a fuzzer.
UserId = Annotated[str, Field(max_length=200, json_schema_extra={"format": "user-id"})] | _Number
ItemId = Annotated[str, Field(max_length=200, json_schema_extra={"format": "item-id"})] | _Number


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Wanted(_Strict):
    """For whom, ``users`` or ``histories``, and what; as of ``recommender.Asked``."""

    users: list[UserId] | None = Field(None, description="known ones, by their ids in the data")
    histories: list[list[ItemId]] | None = Field(
        None, description="of anybody: ids of items, the earliest first; an empty one gets the unguided list"
    )
    topk: int = Field(10, ge=1)
    guidance_scale: float | None = Field(
        None,
        ge=-MOST_SCALE,
        le=MOST_SCALE,
        allow_inf_nan=False,
        description="0: unguided, 1: guided, above 1: extrapolated; null: the model's own",
    )
    exclude: list[ItemId] = Field([], description="items that are never recommended")
    candidates: list[ItemId] | None = Field(None, description="the only items that are; null: all")
    include_seen: bool = Field(False, description="also recommend what a person has")
    diversify: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="the lambda of maximal marginal relevance; 1: as ranked"
    )

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Wanted:
        if (self.users is None) == (self.histories is None):
            raise ValueError("give either users or histories")
        return self

    def job(self, limits: Limits) -> Job:
        """What is to be scored.

        Raises:
            ConfigError: if it is more than the limits allow.
        """
        people = self.users if self.users is not None else self.histories or []
        limits.check("people", "users or histories", len(people))
        limits.check("topk", "topk", self.topk)
        if self.diversify is not None:
            limits.check("diversify", "diversify: people times topk", len(people) * self.topk)
        for history in self.histories or []:
            limits.check("history", "items of a history", len(history))
        candidates = None if self.candidates is None else tuple(self.candidates)
        asked = Asked(
            self.topk, self.guidance_scale, self.include_seen, tuple(self.exclude), candidates, self.diversify
        )
        return Job(people, self.users is not None, asked)


class Item(BaseModel):
    """An item; its title is null where the data set has none."""

    item: str
    title: str | None


class Recommended(Item):
    """A line of a list."""

    rank: int
    score: float


class Recommendations(BaseModel):
    """A list for each person, in the order of the request, best first; shorter where fewer items are left."""

    recommendations: list[list[Recommended]]


class Health(BaseModel):
    """Whether requests are answered."""

    status: str = "ok"


class About(BaseModel):
    """What is served, and the limits of a request."""

    model: str
    dataset: str
    n_items: int
    n_users: int = Field(description="known ones; 0 if the model has no histories")
    is_guided: bool
    guidance_scale: float = Field(description="where none is asked for")
    limits: dict[str, int]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str
