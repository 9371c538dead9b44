"""The words that the stories are made of."""

NAMES = (
    "Mia Tom Ana Ben Lily Max Rosa Sam Nora Leo Ida Finn Zoe Otto Ella Hugo Maya Noah Tara Paul"
).split()

ANIMALS = "cat dog fox bear owl hen duck pig goat mouse frog rabbit".split()

THINGS = "mat bed box boat rug log rock bench chair cart wall table".split()

PLACES = "forest garden kitchen village field barn".split()

TREASURES = "ball key lamp cup ring coin book kite drum bell shell hat".split()

FOODS = "apple cake plum pear bread soup".split()

COLOURS = "red blue green white black yellow".split()

# What only a living thing can be, and what it then does.
FEELINGS = {
    "tired": "went to sleep",
    "sleepy": "went to bed",
    "hungry": "ate some bread",
    "thirsty": "drank some water",
    "sad": "began to cry",
    "angry": "ran away",
    "happy": "began to sing",
    "brave": "looked around",
    "lonely": "called a friend",
    "ill": "stayed at home",
}

# What only a thing can be, and what is then done with it.
QUALITIES = {
    "soft": "was a good place to rest",
    "hard": "was a bad place to rest",
    "wet": "was left in the sun to dry",
    "dusty": "was cleaned with a cloth",
    "broken": "was mended with a nail",
    "wooden": "was painted again",
    "flat": "was easy to climb",
    "dry": "was safe from the rain",
    "heavy": "was hard to move",
    "empty": "was filled with straw",
}

# A word on its own that can stand in a list.
LISTABLE = [*NAMES, *ANIMALS, *THINGS, *PLACES, *TREASURES, *FOODS, *COLOURS, *FEELINGS, *QUALITIES]

SYLLABLES = (
    "ba be bo da de do ka ki ko la le lo ma mi mo na ni no ra ri ro sa si so ta ti to".split()
)
