"""What the 30 classes of `lora_tree_mini` look like, in words.

Written once for all classes, those of the fixed test among them, before any was tried.
"""

DESCRIPTIONS = {
    "airplane": "a flying machine with long wings and a tail, seen against the sky",
    "automobile": "a car with four wheels, windows and headlights on a road",
    "bird": "a small animal with feathers, wings and a beak, on a branch or in the air",
    "cat": "a small furry pet with pointed ears and whiskers",
    "deer": "a wild animal with four thin legs and antlers in a forest",
    "dog": "a furry pet with a snout and floppy ears",
    "frog": "a small green amphibian with wide eyes, sitting on the ground",
    "horse": "a large animal with four long legs, a mane and a tail, standing in a field",
    "ship": "a large vessel with a hull, floating on the sea",
    "truck": "a big vehicle with a cargo box and large wheels on a road",
    "ankle boot": "a closed shoe with a high shaft around the ankle and a heel",
    "sandal": "an open flat shoe made of straps",
    "sneaker": "a flat low sports shoe with laces and a rubber sole",
    "bag": "a wide box-shaped handbag with a handle on top",
    "coat": "a warm long-sleeved outer garment that opens in the front, for the upper body",
    "pullover": "a warm long-sleeved knitted top without buttons, for the upper body",
    "shirt": "a light top with sleeves, a collar and buttons, for the upper body",
    "t-shirt": "a light top with short sleeves, for the upper body",
    "dress": "a long narrow garment for women, from shoulders to knees",
    "trouser": "a long narrow garment with two separate legs",
    "handwritten digit zero": "one large round closed loop, empty in the middle",
    "handwritten digit one": "a single straight vertical line",
    "handwritten digit two": (
        "a curve at the top and a straight horizontal line at the bottom"
    ),
    "handwritten digit three": "two curves open to the left, one above the other",
    "handwritten digit four": (
        "straight lines that cross, open at the top, with a vertical line on the right"
    ),
    "handwritten digit five": (
        "a horizontal line at the top and a curve open to the left at the bottom"
    ),
    "handwritten digit six": "a long curve with a closed loop at the bottom",
    "handwritten digit seven": (
        "a straight horizontal line at the top and a straight slanted vertical line"
    ),
    "handwritten digit eight": "two closed loops, one above the other",
    "handwritten digit nine": (
        "a closed loop at the top and a straight vertical line below it"
    ),
}
