"""The providers and the admin whom the stand-in main API knows. Their ids never change, so that they can be typed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """One of the platform's people; all invented."""

    id: str
    role: str
    name: str
    categories: tuple[str, ...] = ()
    skill_level: str = ""
    is_active: bool = True

    @property
    def document(self) -> dict[str, object]:
        """The person as the main API tells of them."""
        return {
            "_id": self.id,
            "role": self.role,
            "name": self.name,
            "categories": list(self.categories),
            "skillLevel": self.skill_level or None,
            "isActive": self.is_active,
        }


NURSE = Person("a00000000000000000000001", "nurse", "Meera Nair", ("NURSING",), "SPECIALIST")
PHYSIOTHERAPIST = Person("b00000000000000000000001", "physiotherapist", "Anita Rao", ("PHYSIOTHERAPY",), "SPECIALIST")
ADMIN = Person("c00000000000000000000001", "admin", "Asha Menon")

PEOPLE = (
    NURSE,
    Person("a00000000000000000000002", "nurse", "Ravi Kumar", ("NURSING",), "BASIC"),
    Person("a00000000000000000000003", "nurse", "Fatima Khan", ("NURSING",), "ADVANCED"),
    Person("a00000000000000000000009", "nurse", "Left Last Year", ("NURSING",), "ADVANCED", is_active=False),
    PHYSIOTHERAPIST,
    Person("b00000000000000000000002", "physiotherapist", "Imran Sheikh", ("PHYSIOTHERAPY",), "INTERMEDIATE"),
    ADMIN,
)
PEOPLE_BY_ID = {person.id: person for person in PEOPLE}
