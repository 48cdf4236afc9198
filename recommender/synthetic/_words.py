"""The made-up vocabulary of the sample catalog: 31 departments with 8 categories each, and parts of titles.

A department is one paragraph of ``_VOCABULARY``; an indented line continues the line before:

    typical price in dollars, kind of variant (a key of VARIANTS)
    adjectives
    features
    audiences
    category name: thing; thing; thing; thing
    ... (8 categories)
"""

from __future__ import annotations

from dataclasses import dataclass

ADJECTIVES, FEATURES, AUDIENCES, THINGS, VARIANT_WORDS = 8, 8, 4, 4, 12  # words in every list of that name


@dataclass(frozen=True)
class Department:
    """Words of one department."""

    typical_price: float
    variant: str
    adjectives: tuple[str, ...]
    features: tuple[str, ...]
    audiences: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]  # category name -> things


_COLORS = (
    "Black", "White", "Navy Blue", "Charcoal Gray", "Forest Green", "Burgundy", "Cream", "Teal", "Silver", "Sky Blue",
    "Olive", "Multicolor",
)  # fmt: skip
_FLAVORS = (
    "Vanilla", "Mixed Berry", "Original", "Lemon", "Peppermint", "Honey", "Cinnamon", "Orange", "Unflavored", "Cocoa",
    "Apple", "Coconut",
)  # fmt: skip
_WIDE_COUNTS = (
    "2-Pack", "3-Pack", "4-Pack", "6-Pack", "10 Count", "12 Count", "24 Count", "50 Count", "100 Count", "(Pack of 3)",
    "Value Pack", "(1 Pack)",
)  # fmt: skip

# kind -> (twelve words after a comma, twelve sizes)
VARIANTS = {
    "wear": (_COLORS, (
        "X-Small", "Small", "Medium", "Large", "X-Large", "XX-Large", "3X", "4X", "Medium Tall", "Large Tall",
        "Regular", "One Size",
    )),
    "shoe": (_COLORS, (
        "Size 5", "Size 6", "Size 6.5", "Size 7", "Size 7.5", "Size 8", "Size 8.5", "Size 9", "Size 10", "Size 11",
        "Size 12", "Size 9 Wide",
    )),
    "size": (_COLORS, (
        "Small", "Medium", "Large", "X-Large", "Standard", "Compact", "Full Size", "2-Pack", "Set of 2", "(1 Pack)",
        "Extra Long", "Junior",
    )),
    "set": (_COLORS, (
        "Set of 2", "Set of 3", "Set of 4", "Set of 6", "2-Pack", "(2 Pieces)", "(5 Pieces)", "(12 Pieces)",
        "24-Piece Set", "Starter Set", "Gift Box", "Value Pack",
    )),
    "pack": (_COLORS, _WIDE_COUNTS),
    "device": (_COLORS, (
        "1-Pack", "2-Pack", "with Adapter", "with Travel Case", "2nd Generation", "Version 3.0", "Basic Model",
        "Pro Model", "Mini", "Starter Kit", "3.3 ft Cable", "6.6 ft Cable",
    )),
    "home": (_COLORS, (
        "Twin", "Full", "Queen", "King", "California King", "50 x 60 Inches", "2 x 3 ft", "5 x 7 ft", "8 x 10 ft",
        "Set of 2", "Small", "Large",
    )),
    "care": ((
        "Lavender", "Unscented", "Coconut", "Rose", "Citrus", "Sandalwood", "Eucalyptus", "Shea", "Vanilla", "Jasmine",
        "Mint", "Argan",
    ), (
        "1.7 fl oz", "3.4 fl oz", "8 oz", "12 fl oz", "16 fl oz", "Travel Size", "2-Pack", "3-Pack", "Gift Set",
        "Refill", "Family Size", "(Pack of 6)",
    )),
    "dose": (_FLAVORS, _WIDE_COUNTS),
    "food": (_FLAVORS, (
        "8 oz", "12 oz Bag", "1 lb", "2 lb Bag", "16 oz Jar", "3.5 oz (Pack of 6)", "12 Count", "24 Count", "5 lb",
        "Variety Pack", "Gift Tin", "(Pack of 3)",
    )),
    "jewel": ((
        "Gold", "Silver", "Rose Gold", "Black", "Two-Tone", "Blue Stone", "Green Stone", "Pearl White", "Bronze",
        "Platinum Tone", "Red Stone", "Clear Stone",
    ), (
        "16 Inches", "18 Inches", "20 Inches", "Size 6", "Size 7", "Size 8", "Adjustable", "Set of 3", "2 Pairs",
        "Large Face", "Small Face", "One Size",
    )),
}  # fmt: skip
KINDS_IN_INCHES = ("size", "set", "pack", "device", "home")
INCHES = ('6"', '8"', '10"', '12"', '14"', '16" x 20"', '18"', '20" x 28"', '24"', '36"', '48"', '1/2"', '3/4"', '5.5"')
SPECIAL = (
    "– 2023 Edition", "– Improved Fit", "with Carry Bag – Lifetime Support", "【New Version】", "360° Rotation",
    "ComfortPlus™", "EverFresh®", "Café Style", "Décor Series", "½ Size Larger", "3 × 5 ft", "User’s Choice",
    "5-in-1… and More", "（Pack of 2）", "Piqué Finish",
)  # fmt: skip
EMOJI = ("🎁", "🌿", "🚀", "🐶", "✨🎨", "🍀")

BRAND_STARTS = (
    "Al", "Bar", "Bel", "Bri", "Cal", "Cor", "Dal", "Dor", "El", "Fen", "Fil", "Gar", "Gro", "Hal", "Hol", "In", "Jor",
    "Kel", "Kor", "Lan", "Lum", "Mar", "Mil", "Nor", "Ob", "Or", "Pel", "Quin", "Ral", "Ro", "Sel", "Sol", "Tal",
    "Tre", "Ul", "Var", "Vel", "Wes", "Yar", "Zen",
)  # fmt: skip
BRAND_ENDS = (
    "bex", "bury", "cano", "dale", "dora", "enta", "ford", "gano", "grove", "hart", "ilo", "iva", "kind", "lane",
    "lio", "mont", "mora", "nado", "nix", "ora", "parc", "quist", "rano", "ridge", "savo", "sette", "stad", "tavo",
    "thorn", "umo", "vanta", "wick", "xa", "yard", "zeno",
)  # fmt: skip

_VOCABULARY = """
24 size
Heavy Duty; Expandable; Lightweight; Rust-Proof; Ergonomic; Weatherproof; Adjustable; Professional
No-Leak Brass Fittings; UV-Resistant Coating; Comfortable Soft Grip; Easy to Assemble; Sharp Carbon Steel Blade;
  Drainage Holes Included; Suits All Seasons; Tangle-Free Storage
Patio and Lawn; Raised Beds; Indoor and Outdoor Plants; Small Gardens
Watering Equipment: Garden Hose; Oscillating Sprinkler; Watering Can; Hose Nozzle
Garden Hand Tools: Pruning Shears; Hand Trowel; Weeding Fork; Bulb Planter
Planters & Raised Beds: Planter Box; Hanging Basket; Raised Garden Bed; Flower Pot
Seeds & Bulbs: Wildflower Seed Mix; Heirloom Tomato Seeds; Herb Seed Kit; Tulip Bulbs
Patio Seating: Folding Patio Chair; Garden Bench; Hammock; Adirondack Chair
Outdoor Shade: Patio Umbrella; Shade Sail; Pop-Up Gazebo; Retractable Awning
Bird Feeding: Bird Feeder; Suet Holder; Hummingbird Nectar Bottle; Bird Bath
Pest Barriers: Garden Netting; Plant Cover; Copper Slug Tape; Mesh Fence

32 set
Nonstick; Stainless Steel; Cast Iron; Professional; Ceramic; Compact; Dishwasher Safe; Classic
Works on All Stoves; Stay-Cool Handle; BPA Free; Easy to Clean; Oven Safe to 450 F; Tempered Glass Lid; Even Heat
  Distribution; Recipe Booklet Included
Home Cooks; Small Kitchens; Family Meals; Camping Kitchens
Cookware: Frying Pan; Saucepan; Dutch Oven; Stockpot
Bakeware: Muffin Tin; Loaf Pan; Baking Sheet; Springform Pan
Cutlery & Sharpeners: Chef Knife; Paring Knife Set; Bread Knife; Whetstone
Coffee & Tea Makers: French Press; Pour-Over Dripper; Moka Pot; Tea Kettle
Food Storage Jars: Glass Storage Jar; Cereal Dispenser; Spice Rack; Lunch Container
Small Kitchen Machines: Hand Blender; Toaster; Rice Cooker; Waffle Maker
Serving Dishes: Serving Platter; Salad Bowl; Gravy Boat; Cake Stand
Kitchen Gadgets: Garlic Press; Vegetable Peeler; Digital Kitchen Scale; Can Opener

27 wear
Soft; Breathable; Slim Fit; Relaxed; Quick-Dry; Vintage Wash; Stretch; Everyday
Machine Washable; Moisture Wicking Fabric; Ribbed Cuffs; Two Side Pockets; Tagless Comfort; Reinforced Seams;
  Wrinkle Resistant; 100 % Combed Cotton
Work and Weekend; Hiking and Travel; Tall Men; Layering
Mens Shirts: Flannel Shirt; Polo Shirt; Oxford Shirt; Henley
Mens Trousers: Chino Pants; Cargo Pants; Jogger Pants; Straight Leg Jeans
Mens Outerwear: Fleece Jacket; Rain Jacket; Puffer Vest; Parka
Mens Underwear & Socks: Boxer Briefs; Crew Socks; Thermal Base Layer; Ankle Socks
Mens Sportswear: Training Shorts; Running Tee; Track Jacket; Compression Tights
Mens Sleepwear: Pajama Set; Lounge Pants; Bathrobe; Sleep Shorts
Mens Belts & Hats: Leather Belt; Baseball Cap; Knit Beanie; Bucket Hat
Mens Work Clothing: Coverall; Canvas Work Jacket; Bib Overall; Safety Vest

29 wear
Flowy; High Waisted; Soft; Elegant; Casual; Floral; Ribbed; Plus Size
Machine Washable; Side Pockets; Adjustable Straps; Wrinkle Free Fabric; Lined Skirt; Hidden Zipper; Lightweight and
  Airy; Fits True to Size
Summer and Vacation; Office and Evening; Maternity; Yoga and Lounge
Womens Dresses: Maxi Dress; Wrap Dress; Sundress; Cocktail Dress
Womens Tops: Tunic Top; Blouse; Tank Top; Cardigan
Womens Trousers & Skirts: Wide Leg Pants; Pleated Skirt; Skinny Jeans; Palazzo Pants
Womens Coats: Trench Coat; Quilted Jacket; Wool Coat; Rain Poncho
Womens Activewear: Yoga Leggings; Sports Bra; Running Skort; Workout Tank
Womens Lingerie: Bralette; Cotton Briefs; Camisole; Shapewear Shorts
Womens Sleepwear: Nightgown; Satin Pajama Set; Kimono Robe; Sleep Shirt
Womens Scarves & Gloves: Cashmere Feel Scarf; Touchscreen Gloves; Silk Bandana; Infinity Scarf

48 shoe
Lightweight; Waterproof; Cushioned; Leather; Slip-Resistant; Breathable; Wide Width; Retro
Memory Foam Insole; Non-Slip Rubber Outsole; Shock Absorbing Heel; Reflective Details; Padded Collar; Easy Slip-On
  Design; Removable Footbed; Arch Support
Walking and Gym; Nurses and Chefs; Trail and Road; School and Play
Running Footwear: Running Shoe; Trail Runner; Racing Flat; Cushioned Trainer
Hiking Footwear: Hiking Boot; Trekking Sandal; Approach Shoe; Snow Boot
Dress Footwear: Oxford Shoe; Loafer; Ankle Boot; Pump
Sandals & Slippers: Slide Sandal; House Slipper; Flip Flop; Clog
Childrens Footwear: Kids Sneaker; Toddler Sandal; Kids Rain Boot; First Walker Shoe
Work Footwear: Steel Toe Boot; Slip Resistant Work Shoe; Composite Toe Sneaker; Wellington Boot
Shoe Care: Shoe Polish Kit; Waterproofing Spray; Shoe Tree; Suede Brush
Insoles & Laces: Gel Insole; Elastic Laces; Heel Cushion; Orthotic Insert

36 care
Hypoallergenic; Cordless; Rechargeable; Gentle; Nourishing; Vegan; Travel Size; Dermatologist Tested
Fragrance Free; With Aloe and Vitamin E; Long Lasting Finish; For All Skin Types; Cruelty Free; Paraben Free; Fast
  Absorbing; Smooths and Hydrates
Sensitive Skin; Curly Hair; Daily Use; Dry Skin
Face Care: Face Moisturizer; Vitamin C Serum; Clay Mask; Gentle Cleanser
Body Lotions & Oils: Body Butter; Massage Oil; Hand Cream; Shower Gel
Shampoo & Conditioner: Argan Oil Shampoo; Leave-In Conditioner; Dry Shampoo; Scalp Scrub
Hair Styling Tools: Hair Dryer; Curling Wand; Flat Iron; Hot Air Brush
Cosmetics: Lipstick; Eyeshadow Palette; Mascara; Setting Powder
Nail Care: Nail Polish Set; Cuticle Oil; Nail Drill; Gel Lamp
Shaving Supplies: Safety Razor; Electric Shaver; Shaving Cream; Beard Trimmer
Fragrance Sprays: Eau de Toilette; Body Mist; Solid Cologne; Perfume Sampler

18 dose
Organic; Sugar Free; High Potency; Daily; Vegan; Non-GMO; Doctor Formulated; Fast Acting
Third Party Tested; Easy to Swallow Capsules; Gluten Free; Supports Immune Health; Made in Small Batches; 60 Day
  Supply; No Artificial Flavors; Natural Berry Flavor
Men and Women; Adults 50+; Athletes; Travel Kits
Vitamins: Vitamin D3 Softgels; Multivitamin Gummies; Vitamin B12 Tablets; Magnesium Capsules
Protein & Shakes: Whey Protein Powder; Plant Protein Powder; Meal Shake; Collagen Peptides
First Aid: First Aid Kit; Adhesive Bandages; Elastic Wrap; Instant Cold Pack
Monitors & Thermometers: Blood Pressure Monitor; Digital Thermometer; Pulse Oximeter; Body Scale
Toothbrushes & Floss: Electric Toothbrush; Water Flosser; Dental Floss Picks; Tongue Scraper
Sleep & Relaxation: Melatonin Gummies; Weighted Eye Mask; Sound Machine; Lavender Pillow Mist
Mobility Aids: Folding Walker; Reacher Grabber; Shower Chair; Walking Cane
Eye & Ear Care: Reading Glasses; Contact Lens Case; Silicone Ear Plugs; Lens Cleaning Wipes

22 set
Organic; Soft; BPA Free; Foldable; Spill-Proof; Muslin; Newborn; Washable
Easy One-Hand Use; Hypoallergenic Cotton; Dishwasher Safe; Grows with Your Child; Gentle on Skin; Non-Toxic
  Materials; Fits Most Cribs; Unisex Design
Newborns and Infants; Toddlers 1-3; Boys and Girls; New Parents
Bottles & Feeding: Baby Bottle; Silicone Bib; Snack Cup; Bottle Warmer
Diapering: Cloth Diaper; Changing Pad; Diaper Caddy; Wipe Warmer
Nursery Bedding: Fitted Crib Sheet; Swaddle Blanket; Sleep Sack; Crib Mobile
Strollers & Carriers: Baby Carrier; Umbrella Stroller; Stroller Organizer; Ring Sling
Baby Safety Gates: Safety Gate; Cabinet Lock; Corner Guard; Outlet Cover
Baby Bath: Baby Bathtub; Hooded Towel; Bath Kneeler; Rinse Cup
Teethers & Rattles: Teething Ring; Wooden Rattle; Sensory Ball; Crinkle Book
Infant Clothing: Baby Bodysuit; Footed Pajamas; Knit Booties; Sun Hat

26 set
Educational; Wooden; Magnetic; Giant; Colorful; Remote Control; Award-Style; Interactive
Batteries Not Included; Develops Fine Motor Skills; Hours of Screen-Free Fun; Safe Rounded Edges; Easy to Store;
  Glow in the Dark Pieces; Great Birthday Gift; Illustrated Guide
Kids Ages 3 and Up; Boys and Girls 6-12; Preschoolers; The Whole Family
Building Sets: Building Block Set; Marble Run; Magnetic Tiles; Robot Kit
Board & Card Games: Strategy Board Game; Card Game; Trivia Game; Dice Game
Jigsaws: 1000 Piece Jigsaw; Floor Puzzle; 3D Puzzle; Wooden Brain Teaser
Plush Animals: Plush Bear; Stuffed Dinosaur; Plush Unicorn; Weighted Plush Dog
Toy Vehicles: Dump Truck; Race Track; Fire Engine; Wooden Train Set
Pretend Kitchens & Shops: Play Kitchen; Toy Cash Register; Doctor Kit; Tool Bench
Outdoor Play: Bubble Machine; Jump Rope; Kite; Water Table
Science Kits for Children: Crystal Growing Kit; Microscope Kit; Volcano Kit; Circuit Kit

34 device
Wireless; Noise Isolating; Portable; Waterproof; Foldable; High Fidelity; Bluetooth 5.3; Rechargeable
40 Hours Playtime; Built-In Microphone; USB-C Fast Charging; Deep Bass; Soft Ear Cushions; Touch Control; Low
  Latency Mode; Voice Assistant Support
Gym and Running; Home Office; Travel and Commuting; Phone, Tablet and Laptop
Over-Ear Headphones: Over-Ear Headphones; Studio Headphones; Kids Headphones; Headset
Earphones: Wireless Earbuds; In-Ear Monitor; Sleep Earbuds; Bone Conduction Earphones
Portable Speakers: Bluetooth Speaker; Shower Speaker; Party Speaker; Mini Speaker
Turntables & Radios: Record Player; Weather Radio; Alarm Clock Radio; Phono Preamp
Microphones: USB Microphone; Lavalier Microphone; Boom Arm; Pop Filter
Soundbars & Receivers: Soundbar; Stereo Amplifier; Subwoofer; Audio Receiver
Audio Cables & Adapters: Optical Cable; Aux Cable; RCA Splitter; Headphone Adapter
Recording Gear: Digital Voice Recorder; Audio Interface; MIDI Keyboard; Acoustic Foam Panel

38 device
Slim; Fast; Backlit; Ergonomic; Aluminum; Adjustable; Silent; Dual Band
Plug and Play; Wide Compatibility; Braided Cable; Overheat Protection; Space Saving Design; 2 Year Support; No
  Driver Needed; Tool-Free Installation
Laptop and Desktop; Work from Home; Students; Gaming and Office
Keyboards & Mice: Mechanical Keyboard; Wireless Mouse; Wrist Rest; Trackball
Monitors & Mounts: Portable Monitor; Monitor Arm; Privacy Screen; Monitor Stand
Drives & Memory Cards: External SSD; USB Flash Drive; Memory Card; Drive Enclosure
Docks & Hubs: USB-C Hub; Docking Station; Card Reader; KVM Switch
Wi-Fi & Cables: Mesh Wi-Fi Router; Ethernet Cable; Network Switch; Range Extender
Laptop Sleeves & Stands: Laptop Sleeve; Laptop Stand; Cooling Pad; Keyboard Cover
Printers & Ink: Label Printer; Ink Cartridge; Photo Paper; Toner Cartridge
PC Parts: Case Fan; Thermal Paste; Power Supply; Graphics Card Bracket

16 device
Shockproof; Magnetic; Clear; Slim; Fast; Foldable; Anti-Scratch; Universal
Wireless Charging Compatible; Military Grade Drop Protection; Precise Cutouts; Bubble-Free Installation; Raised
  Camera Edges; 3-Year Support; Nylon Braided; One-Hand Operation
6.1 Inch Phones; Car and Desk; All Smartphones; Tablets and Phones
Phone Cases: Phone Case; Wallet Case; Rugged Case; Silicone Case
Screen Protectors: Tempered Glass Screen Protector; Privacy Glass; Camera Lens Protector; Matte Film
Chargers & Cables: Wall Charger; Charging Cable; Wireless Charger; Charging Station
Power Banks: Power Bank; Solar Charger; Battery Case; Portable Power Station
Phone Mounts: Car Phone Mount; Phone Tripod; Ring Holder; Bike Phone Holder
Smartwatch Bands: Silicone Watch Band; Milanese Loop; Leather Watch Strap; Nylon Sport Loop
Tablet Cases: Tablet Case; Keyboard Case; Kids Tablet Case; Tablet Sleeve
Stylus Pens: Stylus Pen; Replacement Tips; Drawing Glove; Pencil Holder

64 device
4K; Compact; Weatherproof; Mirrorless; Carbon Fiber; Padded; Universal; Professional
Night Vision; Quick Release Plate; Motion Detection; Includes Carry Case; Two Batteries Included; Wide Angle Lens;
  Remote Shutter; Adjustable Brightness
Vloggers and Creators; Beginners; Wildlife and Travel; Home and Business
Tripods & Supports: Travel Tripod; Monopod; Gimbal Stabilizer; Ball Head
Camera Bags: Camera Backpack; Lens Pouch; Sling Bag; Hard Camera Case
Studio Lighting: Ring Light; Softbox Kit; LED Light Panel; Photo Backdrop
Home Surveillance: Security Camera; Video Doorbell; Baby Monitor; Floodlight Camera
Binoculars & Scopes: Binoculars; Spotting Scope; Monocular; Beginner Telescope
Action Cameras: Action Camera; Dash Camera; Chest Mount; Dive Housing
Instant & Film: Instant Camera; Film Roll; Photo Album; Negative Scanner
Lenses & Filters: UV Filter; ND Filter Set; Macro Lens; Lens Cap

30 size
Heavy Duty; Universal; All Weather; Chrome; Quick Release; LED; Digital; Waterproof
Fits Most Cars, SUVs and Trucks; No Drilling Required; Easy Installation; Corrosion Resistant; High Visibility;
  Emergency Light; Complete Kit with Hardware; Trims to Fit
Trucks and SUVs; Sedans; Classic Cars; Road Trips
Car Cleaning: Microfiber Towel; Foam Cannon; Wax Spray; Wheel Brush
Car Seat Covers & Mats: Floor Mat; Seat Cover; Trunk Organizer; Steering Wheel Cover
Vehicle Lighting: Headlight Bulb; LED Light Bar; Tail Light; Interior Light Strip
Tires & Air: Tire Inflator; Tire Gauge; Valve Stem Cap; Tire Repair Kit
Engine & Filters: Oil Filter; Cabin Air Filter; Spark Plug; Ignition Coil
Motorcycle Gear: Motorcycle Gloves; Saddle Bag; Motorcycle Cover; Helmet Lock
Towing & Hitches: Hitch Pin Lock; Tow Strap; Cargo Carrier; Trailer Wiring Kit
Batteries & Jump Starters: Jump Starter; Battery Charger; Battery Terminal; Jumper Cable

42 set
Cordless; Heavy Duty; Magnetic; Precision; Insulated; Titanium; Compact; Brushless
Chrome Vanadium Steel; Storage Case Included; Non-Slip Handle; Variable Speed; Laser Etched Markings; Fast Charger
  Included; Lifetime Support; Corrosion Resistant Finish
Home Repair; Wood and Metal; Professionals and DIY; Mechanics
Drills & Drivers: Cordless Drill; Impact Driver; Drill Bit Set; Screwdriver Set
Saws & Blades: Circular Saw; Jigsaw Blade; Hand Saw; Reciprocating Saw
Wrenches & Sockets: Socket Set; Torque Wrench; Combination Wrench Set; Hex Key Set
Levels & Measures: Tape Measure; Laser Level; Digital Caliper; Combination Square
Sanding & Grinding: Orbital Sander; Sanding Disc; Angle Grinder; Flap Wheel
Tool Storage: Tool Bag; Tool Chest; Tool Belt; Small Parts Organizer
Soldering & Electrical Test: Soldering Iron; Multimeter; Wire Stripper; Voltage Tester
Clamps & Vises: Bar Clamp; Bench Vise; Spring Clamp; Corner Clamp

21 set
Stainless Steel; Self-Adhesive; Industrial; Galvanized; Solid Brass; Universal; Assorted; Peel and Stick
Mounting Screws Included; Rust Resistant; Easy DIY Installation; Heavy Load Capacity; Leak-Free Seal; Indoor and
  Outdoor Use; Paintable Surface; Fits Standard Sizes
Kitchen and Bathroom; Doors and Cabinets; Garage and Workshop; Rental Homes
Cabinet Hardware: Cabinet Pull; Drawer Knob; Soft Close Hinge; Drawer Slide
Faucets & Showers: Shower Head; Kitchen Faucet; Faucet Aerator; Shower Hose
Door Locks: Keypad Deadbolt; Door Lever; Padlock; Door Stop
Wall Repair & Paint: Paint Roller; Drywall Patch; Painters Tape; Caulking Gun
Switches & Outlets: Dimmer Switch; USB Wall Outlet; Timer Switch; Extension Cord
Bulbs & Fixtures: LED Bulb; Pendant Light; Vanity Light; Under Cabinet Light
Screws & Anchors: Wood Screw Assortment; Drywall Anchor; Hex Bolt; Machine Screw Kit
Pipes & Valves: Ball Valve; Pipe Clamp; PEX Fitting; Toilet Fill Valve

46 home
Plush; Cooling; Microfiber; Blackout; Quilted; Reversible; Velvet; Farmhouse
Machine Washable; Fade Resistant; Ultra Soft; Deep Pockets; Non-Slip Backing; Hotel Quality; All Season Comfort;
  Includes 2 Pillowcases
Living Room and Bedroom; Queen Bed; Dorm Room; Guest Room
Sheets & Pillowcases: Sheet Set; Silk Pillowcase; Fitted Sheet; Duvet Cover
Comforters & Blankets: Comforter; Throw Blanket; Weighted Blanket; Electric Blanket
Pillows: Memory Foam Pillow; Body Pillow; Throw Pillow Cover; Down Alternative Pillow
Curtains & Blinds: Curtain Panel; Roman Shade; Curtain Rod; Roller Blind
Rugs: Area Rug; Runner Rug; Shag Rug; Rug Pad
Towels & Bath Mats: Bath Towel Set; Bath Mat; Shower Curtain; Hand Towel
Candles & Scents: Scented Candle; Reed Diffuser; Wax Melts; Essential Oil Diffuser
Mirrors & Frames: Wall Mirror; Picture Frame Set; Canvas Print; Floating Shelf

118 home
Modern; Mid-Century; Adjustable; Upholstered; Industrial; Folding; Space Saving; Solid Wood
Easy Assembly; Holds up to 300 lbs; Metal Frame; Scratch Resistant Top; Hidden Storage; Anti-Tip Hardware; Thick
  Padded Seat; Cable Management
Living Room; Home Office; Small Spaces; Entryway and Hallway
Desks: Standing Desk; Writing Desk; Corner Desk; Laptop Table
Chairs & Stools: Office Chair; Bar Stool; Accent Chair; Dining Chair
Sofas & Daybeds: Sleeper Sofa; Loveseat; Daybed Frame; Sofa Cover
Tables: Coffee Table; Side Table; Console Table; Nesting Tables
Shelving: Bookcase; Ladder Shelf; Cube Organizer; Corner Shelf
Beds & Mattresses: Platform Bed Frame; Mattress Topper; Bunk Bed; Box Spring
Wardrobes & Dressers: Dresser; Clothing Rack; Shoe Cabinet; Jewelry Armoire
TV & Media Stands: TV Stand; Media Console; Electric Fireplace Stand; TV Wall Mount

17 pack
Stackable; Foldable; Clear; Reusable; Concentrated; Heavy Duty; Scented; Washable
Space Saving; Labels Included; Streak Free; Cuts Through Grease; Reinforced Handles; Septic Safe; Refillable Bottle;
  Absorbs 10 Times Its Weight
Closet and Pantry; Kitchen and Bath; Laundry Room; Pet Owners
Storage Bins: Storage Bin; Underbed Box; Fabric Cube; Drawer Divider
Laundry Care: Laundry Hamper; Dryer Balls; Drying Rack; Stain Remover
Surface Cleaners: All-Purpose Cleaner; Glass Cleaner; Wood Polish; Descaler
Mops & Brooms: Spray Mop; Push Broom; Dustpan Set; Lint Roller
Vacuums: Stick Vacuum; Handheld Vacuum; Robot Vacuum; Vacuum Bags
Paper & Disposables: Paper Towels; Trash Bags; Facial Tissues; Napkins
Hangers & Closet: Velvet Hangers; Closet Organizer; Shoe Rack; Garment Bag Cover
Ironing & Steaming: Steam Iron; Garment Steamer; Ironing Board; Fabric Shaver

23 size
Chew-Resistant; Grain Free; Reflective; Self-Cleaning; Orthopedic; Interactive; Retractable; Natural
Vet Recommended Design; Washable Cover; Adjustable Straps; Non-Toxic; Stain Resistant; Slow Feeding; Escape Proof;
  Real Chicken First
Small and Medium Dogs; Indoor Cats; Puppies and Seniors; Aquariums up to 40 Gallons
Dog Walking: Dog Leash; Dog Harness; Dog Collar; Poop Bag Holder
Dog Beds & Crates: Dog Bed; Dog Crate; Cooling Mat; Pet Gate
Dog Treats & Toys: Dental Chews; Squeaky Toy; Rope Toy; Training Treats
Cat Litter & Boxes: Litter Box; Litter Mat; Clumping Litter; Litter Scoop
Cat Trees & Toys: Cat Tree; Scratching Post; Feather Wand; Cat Tunnel
Aquariums: Aquarium Filter; Fish Food Flakes; Aquarium Heater; Aquarium Gravel
Small Pets & Birds: Hamster Wheel; Bird Perch; Timothy Hay; Rabbit Hutch
Grooming: Grooming Brush; Pet Nail Grinder; Pet Shampoo; Deshedding Tool

52 size
Ultralight; Waterproof; Insulated; Folding; Inflatable; 4-Season; Rugged; Compact
Carry Bag Included; Sets Up in Minutes; Rated to 20 F; Ripstop Nylon; Keeps Cold 24 Hours; Reflective Guy Lines;
  Leakproof Lid; Padded Shoulder Straps
Backpacking and Camping; Beach Days; Family Trips; Hunting and Fishing
Tents & Tarps: Dome Tent; Camping Tarp; Screen House; Tent Stakes
Sleeping Gear: Sleeping Bag; Camping Pad; Camp Pillow; Bivy Sack
Camp Kitchen: Camping Stove; Mess Kit; Cooler; Camp Grill
Fishing Tackle: Spinning Reel; Fishing Rod; Tackle Box; Soft Lures
Hydration: Water Bottle; Hydration Pack; Water Filter Straw; Insulated Tumbler
Lights & Navigation: Headlamp; Camping Lantern; Compass; Emergency Beacon
Boating & Paddling: Kayak Paddle; Life Vest; Dry Bag; Paddle Board
Climbing & Trekking: Trekking Poles; Carabiner; Climbing Chalk; Gaiters

33 size
Adjustable; Non-Slip; Heavy Duty; Foldable; Resistance; Textured; Competition; Beginner
Workout Guide Included; Sweat Resistant; Anti-Burst; Steel Core; Foam Padded Handles; Weather Resistant; Quiet
  Operation; Carry Strap Included
Home Gym; Youth and Adult; Pilates and Yoga; Teams and Coaches
Strength Training: Dumbbell Set; Kettlebell; Resistance Bands; Weight Bench
Yoga & Pilates: Yoga Mat; Yoga Block; Pilates Ring; Foam Roller
Cardio Machines: Exercise Bike; Walking Pad; Mini Stepper; Rowing Machine
Ball Sports: Basketball; Soccer Goal; Volleyball Net; Baseball Glove
Racket Sports: Pickleball Paddle; Tennis Racket; Badminton Set; Table Tennis Balls
Cycling: Bike Helmet; Bike Lock; Bike Pump; Cycling Gloves
Swimming: Swim Goggles; Swim Cap; Kickboard; Snorkel Set
Golf: Golf Balls; Putting Mat; Golf Towel; Range Finder

19 set
Acrylic; Watercolor; Fine Tip; Self-Healing; Beginner; Assorted; Premium; Pre-Cut
Vibrant Colors; Non-Toxic and Washable; Step-by-Step Guide; Acid Free; Blendable; Storage Tin Included; Smooth
  Gliding; Suitable for All Levels
Adults and Teens; Journaling; Classrooms; Card Making
Drawing: Sketchbook; Colored Pencils; Charcoal Set; Fineliner Pens
Paints & Brushes: Acrylic Paint Set; Watercolor Palette; Paint Brush Set; Stretched Canvas
Yarn & Needles: Chunky Yarn; Crochet Hook Set; Knitting Needles; Stitch Markers
Sewing Room: Sewing Kit; Fabric Scissors; Cutting Mat; Bobbin Set
Beads & Charms: Glass Beads; Jewelry Wire; Charm Bracelet Kit; Bead Loom
Paper Crafts: Cardstock; Washi Tape; Rubber Stamp Set; Paper Punch
Clay & Molds: Polymer Clay; Silicone Mold; Pottery Tools; Resin Kit
Embroidery: Embroidery Hoop; Cross Stitch Kit; Embroidery Floss; Punch Needle

15 pack
Recycled; Refillable; Spiral; Quick-Dry; Color-Coded; Magnetic; Undated; Desktop
Smooth Writing; Bleed-Resistant Paper; Non-Slip Feet; Tear-Off Sheets; Holds 200 Sheets; Back Pocket; Sturdy Cover;
  Erases Cleanly
School and Office; Teachers; College Students; Meetings and Planning
Notebooks & Planners: Hardcover Notebook; Weekly Planner; Composition Book; Sticky Notes
Pens & Markers: Gel Pens; Highlighters; Dry Erase Markers; Fountain Pen
Desk Organization: Desk Organizer; Pen Cup; Letter Tray; Drawer Tray
Boards & Easels: Whiteboard; Cork Board; Flip Chart; Letter Board
Filing: File Folder; Accordion File; Ring Binder; Sheet Protectors
Mailing & Packing: Bubble Mailer; Packing Tape; Shipping Labels; Postal Scale
Calculators & Shredders: Desk Calculator; Paper Shredder; Laminator; Hole Punch
School Bags: School Backpack; Pencil Case; Lunch Bag; Rolling Backpack

89 size
Expandable; Hardside; Lightweight; Water-Resistant; Anti-Theft; Vegan Leather; Convertible; Packable
360 Spinner Wheels; Combination Lock; Padded Laptop Pocket; Fits Under Most Seats; Hidden Back Pocket; Compression
  Straps; Luggage Strap; Scratch Resistant Shell
Women and Men; Business Trips; Weekend Getaways; Gym and Sports
Hard Suitcases: Hardside Suitcase; Carry-On Spinner; Trunk Suitcase; Kids Suitcase
Soft Suitcases: Softside Suitcase; Underseat Bag; Rolling Tote; Upright Luggage
Daypacks: Travel Backpack; Laptop Backpack; Sling Pack; Commuter Backpack
Duffels & Gym Bags: Duffel Bag; Gym Bag; Wheeled Duffel; Barrel Bag
Handbags: Tote Bag; Crossbody Bag; Clutch; Hobo Bag
Wallets: Bifold Wallet; Card Holder; Passport Holder; Coin Purse
Packing Helpers: Packing Cubes; Luggage Tag; Toiletry Bag; Travel Bottles
Umbrellas & Ponchos: Travel Umbrella; Golf Umbrella; Rain Cape; Clear Dome Umbrella

58 jewel
Sterling Silver; Gold Plated; Dainty; Personalized; Minimalist; Stainless Steel; Vintage; Cubic Zirconia
Gift Box Included; Tarnish Resistant; Nickel Free; Adjustable Length; Water Resistant to 30 m; Luminous Hands;
  Secure Clasp; Hand Polished
Women and Teens; Men; Weddings; Mother and Daughter
Necklaces: Pendant Necklace; Layered Necklace; Pearl Necklace; Locket
Earrings: Hoop Earrings; Stud Earrings; Drop Earrings; Ear Cuff
Bracelets: Bangle; Tennis Bracelet; Beaded Bracelet; Anklet
Rings: Stacking Ring; Signet Ring; Promise Ring; Wedding Band
Watches: Chronograph Watch; Digital Watch; Skeleton Watch; Quartz Watch
Jewelry Care: Jewelry Box; Polishing Cloth; Ring Dish; Watch Winder
Hair Jewelry: Hair Clip; Headband; Hair Pins; Tiara
Cuff Links & Pins: Cuff Links; Tie Clip; Enamel Pin; Brooch

44 device
Wireless; RGB; Ergonomic; Programmable; Officially Styled; Rechargeable; Compact; Retro
Turbo Button; Dual Vibration; Works on PC and Console; Anti-Slip Grip; Low Latency; Carrying Case Included; Quick
  Setup; 3.5 mm Audio Jack
Gamers of All Ages; PC and Console; Streamers; Handheld Consoles
Controllers: Game Controller; Arcade Stick; Racing Wheel; Retro Gamepad
Gaming Headsets: Gaming Headset; Headset Stand; Surround Headset; Chat Adapter
Console Storage & Cases: Console Travel Case; Game Card Case; Console Skin; Console Stand
Gaming Chairs: Gaming Chair; Floor Rocker; Footrest; Lumbar Pillow
Virtual Reality: VR Head Strap; VR Lens Cover; VR Controller Grip; VR Stand
Adventure Titles: Adventure Game; Puzzle Platformer; Role-Playing Game; Farming Simulator
Sports Titles: Racing Game; Football Manager Game; Skating Game; Golf Game
Gaming Desks & Lights: Gaming Desk; LED Light Strip; Mouse Pad; Monitor Light

28 device
Smart; Wi-Fi; Energy Saving; Voice Controlled; Dimmable; Battery Powered; Dual Band; Hub-Free
No Hub Required; App Control; Schedules and Timers; Works with Voice Assistants; Energy Monitoring; Tamper Alerts;
  Easy Pairing; 2 Year Battery Life
Apartments; Whole Home; Renters; Front Door and Garage
Smart Plugs: Smart Plug; Smart Power Strip; Outdoor Smart Plug; Smart Relay
Smart Bulbs: Color Smart Bulb; Smart Light Strip; Smart Downlight; Smart Night Light
Smart Locks: Smart Lock; Fingerprint Lock; Smart Lock Box; Lock Keypad
Sensors & Alarms: Motion Sensor; Water Leak Sensor; Door Sensor; Smoke Alarm
Climate Control: Smart Thermostat; Smart Fan; Air Quality Monitor; Humidity Sensor
Smart Displays: Smart Display; Smart Remote; Hub Stand; Wall Panel
Robot Helpers: Robot Mop; Robot Mower; Window Robot; Robot Charging Dock
Smart Irrigation: Smart Sprinkler Timer; Soil Moisture Sensor; Drip Kit; Smart Hose Valve

55 pack
Industrial; Disposable; High Temperature; Precision; Sterile; Chemical Resistant; Food Grade; Bulk
Meets Common Standards; Case of 100; Autoclavable; Clear Graduations; Latex Free; Flame Retardant; Reusable
  Container; Technical Sheet Included
Workshops and Labs; Restaurants; Clinics and Salons; Warehouses
Laboratory Glassware: Beaker Set; Test Tubes; Graduated Cylinder; Pipette Tips
Protective Equipment: Safety Glasses; Nitrile Gloves; Hard Hat; Respirator Mask
Tapes & Sealants: Duct Tape; Epoxy Adhesive; Threadlocker; Foam Seal Strip
3D Printing: PLA Filament; Nozzle Set; Resin Bottle; Build Plate
Restaurant Equipment: Food Pan; Cutting Board; Ticket Holder; Portion Cups
Material Handling: Hand Truck; Moving Straps; Pallet Wrap; Caster Wheels
Shop & Store Displays: Price Tag Gun; Sign Holder; Garment Rack; Acrylic Riser
Bearings & Belts: Ball Bearing; Timing Belt; Roller Chain; Shaft Coupling

14 food
Organic; Gourmet; Unsweetened; Gluten Free; Small Batch; Crunchy; Spicy; Classic
No Preservatives; Resealable Pouch; Kosher; Single Origin; Rich Aroma; Family Recipe; Low Sodium; Individually
  Wrapped
Gifts and Parties; Keto Diets; Baking and Cooking; Office Snacks
Coffee Beans & Pods: Whole Bean Coffee; Coffee Pods; Cold Brew Packs; Instant Coffee
Teas: Green Tea Bags; Herbal Tea; Chai Concentrate; Matcha Powder
Snacks & Nuts: Roasted Almonds; Popcorn; Trail Mix; Protein Bars
Chocolate & Sweets: Dark Chocolate Bar; Gummy Bears; Caramels; Licorice
Sauces & Spices: Hot Sauce; Spice Blend; Olive Oil; Barbecue Rub
Breakfast Foods: Granola; Pancake Mix; Oatmeal Cups; Maple Syrup
Baking Supplies: Vanilla Extract; Sprinkles; Almond Flour; Baking Chocolate
Pasta & Grains: Lentil Pasta; Jasmine Rice; Quinoa; Ramen Noodles

20 set
Rustic; Glitter; Pre-Lit; Reusable; Hand Painted; Jumbo; Pastel; Rose Gold
Easy to Hang; String Included; Reusable Year After Year; Sturdy Paper; Timer Function; Indoor and Outdoor; Complete
  Set; Ready to Display
Birthdays and Weddings; Holidays; Baby Showers; Classroom Parties
Balloons & Banners: Balloon Garland; Birthday Banner; Foil Balloon; Photo Backdrop Banner
Party Tableware: Party Plates; Paper Straws; Table Runner; Cupcake Stand
Costumes: Kids Costume; Party Wig; Cape and Mask Set; Face Paint
Gift Wrap: Wrapping Paper; Gift Bags; Ribbon Roll; Greeting Cards
Winter Holidays: Christmas Ornament; Artificial Wreath; String Lights; Stocking
Autumn & Halloween: Pumpkin Decoration; Fall Garland; Halloween Lights; Treat Bags
Spring & Easter: Easter Basket; Egg Decorating Kit; Spring Wreath; Garden Flag
Wedding Supplies: Guest Book; Place Cards; Cake Topper; Bouquet Holder
"""


def departments() -> tuple[Department, ...]:
    """Return the departments, parsed; 248 categories in all."""
    return tuple(_department(paragraph) for paragraph in _VOCABULARY.strip().split("\n\n"))


def _department(paragraph: str) -> Department:
    """Parse one paragraph of the vocabulary."""
    head, *lines = paragraph.replace("\n  ", " ").splitlines()
    price, variant = head.split()
    adjectives, features, audiences = (tuple(line.split("; ")) for line in lines[:3])
    categories = {name: tuple(things.split("; ")) for name, things in (line.split(": ") for line in lines[3:])}
    return Department(float(price), variant, adjectives, features, audiences, categories)
